"""What each image of the registry is made of, from what was built."""

from pathlib import Path

from lab.mirror import images
from lab.mirror.assembly import Image
from lab.mirror.kubernetes import Build

PROGRAMS = "/usr/local/bin"
"""Where kubeadm's manifests expect the programs of the control plane and kube-proxy."""


def catalogue(build: Build, pause: Path, base: Path) -> tuple[Image, ...]:
    """All images of the lab, in the order in which they are made."""
    static = [_of_program(build, name, None) for name in images.STATIC_BINARIES]
    agents = [_of_agent(spec, base) for spec in images.agent_images()]
    return (*static, _of_program(build, "kube-proxy", base), _etcd(base), _pause(pause), *agents)


def _of_program(build: Build, name: str, base: Path | None) -> Image:
    files = ((f"{PROGRAMS}/{name}", build.binary(name)),)
    return Image(name=name, content=build.key, files=files, base=base, entrypoint=(f"{PROGRAMS}/{name}",))


def _etcd(base: Path) -> Image:
    return Image(name="etcd", content="", base=base, entrypoint=("/usr/bin/etcd",))


def _pause(program: Path) -> Image:
    files = (("/pause", program),)
    return Image(name="pause", content=program.parent.name, files=files, entrypoint=("/pause",), user="65535:65535")


def _of_agent(spec: images.ImageSpec, base: Path) -> Image:
    return Image(
        name=spec.name,
        content=images.content_tag(spec, images.base_packages()),
        files=tuple(images.image_files(spec)),
        base=base,
        entrypoint=spec.entrypoint,
        cmd=spec.cmd,
        env=spec.env,
        user=spec.user,
        workdir=spec.workdir,
    )
