"""The container runtime: its configuration comes before its package, so that it starts with it and needs no restart."""

from io import StringIO

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.operations import files, systemd

from kubeproof.controller import cri_dockerd
from kubeproof.facts.files import Text
from kubeproof.machines import enforcing, machine
from kubeproof.node import paths, templates
from kubeproof.node.images import pause_image
from kubeproof.node.runtime_config import ConfigFile, config_files
from kubeproof.operations import kernel, runtime
from kubeproof.roles import cluster
from kubeproof.settings import Settings


@deploy("Container runtime")
def configure() -> None:
    """Place its configuration. What a host that had Docker has configured besides, such as data-root, stays."""
    for file in host.loop(_files()):
        files.put(name=file.purpose, src=StringIO(file.text), dest=file.path, mode=file.mode)


@deploy("Container runtime")
def start() -> None:
    """Have it run, with that configuration."""
    settings = cluster().settings
    used = settings.runtime
    runtime.restart_if_reconfigured(
        name=f"Restart {used.title} if its configuration is newer than it",
        service=used.service,
        title=used.title,
        files=[file.path for file in _files() if file.restarts],
    )
    systemd.service(name=f"Start {used.title}, now and at boot", service=used.service, running=True, enabled=True)
    if used.cri_dockerd:
        _start_cri_dockerd(settings)
    kernel.drop_forwarded(name="Drop forwarded packets by default, now")


def _files() -> tuple[ConfigFile, ...]:
    wanted = cluster()
    present = host.get_fact(Text, path=paths.DOCKER_CONFIG) if wanted.settings.runtime.name == "docker" else ""
    return config_files(wanted, present, enforcing=enforcing())


def _start_cri_dockerd(settings: Settings) -> None:
    """kubelet has not spoken with Docker by itself since 1.24; this stands between."""
    files.put(
        name="Install cri-dockerd",
        src=str(cri_dockerd(settings, machine().architecture)),
        dest=paths.CRI_DOCKERD,
        mode="755",
    )
    socket, pause = settings.runtime.cri_socket, pause_image(settings)
    text = templates.render("cri-docker.service.j2", program=paths.CRI_DOCKERD, socket=socket, pause_image=pause)
    files.put(name="Describe its service", src=StringIO(text), dest=paths.CRI_DOCKERD_UNIT, mode="644")
    runtime.restart_if_reconfigured(
        name="Restart cri-dockerd if its program or unit is newer than it",
        service=paths.CRI_DOCKERD_SERVICE,
        title="cri-dockerd",
        files=[paths.CRI_DOCKERD, paths.CRI_DOCKERD_UNIT],
    )
    systemd.service(
        name="Start cri-dockerd, now and at boot", service=paths.CRI_DOCKERD_SERVICE, running=True, enabled=True
    )
