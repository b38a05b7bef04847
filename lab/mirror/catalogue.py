"""What each image of the registry is made of, from what was built."""

from pathlib import Path

from lab.mirror import images
from lab.mirror.images import Image
from lab.mirror.kubernetes import Build

PROGRAMS = "/usr/local/bin"
"""Where kubeadm's manifests expect the programs of the control plane and kube-proxy."""


def catalogue(build: Build, pause: Path, base: Path) -> tuple[Image, ...]:
    """All images of the lab, in the order in which they are made."""
    return (
        *(_of_program(build, name, None) for name in images.STATIC_BINARIES),
        _of_program(build, "kube-proxy", base),
        Image("etcd", content="", base=base, entrypoint=("/usr/bin/etcd",)),
        Image("pause", pause.parent.name, (("/pause", pause),), entrypoint=("/pause",), user="65535:65535"),
        *images.agent_images(base=base),
    )


def _of_program(build: Build, name: str, base: Path | None) -> Image:
    program = f"{PROGRAMS}/{name}"
    return Image(name, build.key, ((program, build.binary(name)),), base, entrypoint=(program,))
