"""The container runtime: its configuration comes before its package, so that it starts with it and needs no restart."""

from pyinfra import host
from pyinfra.api import deploy

from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.deploy.context import cluster, enforcing, machine
from kubeproof.deploy.facts.files import Existing, Text
from kubeproof.deploy.local_files import cri_dockerd
from kubeproof.deploy.operations import host_settings, managed_files, runtime
from kubeproof.node import templates
from kubeproof.node.images import pause_image
from kubeproof.node.runtime_config import ConfigFile, config_files, proxy_drop_in


@deploy("Container runtime")
def configure() -> None:
    """Place its configuration. What a host that had Docker has configured besides, such as data-root, stays."""
    for file in host.loop(_files()):
        managed_files.put(name=file.purpose, path=file.path, text=file.text, mode=file.mode)


@deploy("Container runtime")
def start() -> None:
    settings = cluster().settings
    used = settings.runtime
    read = {file.path: file.text for file in _files() if file.restarts}
    runtime.restart_if_reconfigured(
        name=f"Restart {used.title} if its configuration is newer than it",
        service=used.service,
        title=used.title,
        files=list(read),
        wanted=read,
    )
    managed_files.run_service(name=f"Start {used.title}, now and at boot", service=used.service)
    if used.cri_dockerd:
        _start_cri_dockerd(settings)
    host_settings.drop_forwarded(name="Drop forwarded packets by default, now")


def _files() -> tuple[ConfigFile, ...]:
    wanted = cluster()
    present, first = "", None
    if wanted.settings.runtime.name == "docker":
        present = host.get_fact(Text, path=paths.DOCKER_CONFIG)
        if machine().remembered:
            first = host.get_fact(Text, path=f"{paths.ORIGINALS}{paths.DOCKER_CONFIG}")
    drop_in = proxy_drop_in(wanted.settings.runtime)
    had_proxy = bool(host.get_fact(Existing, candidates=[drop_in]))
    return config_files(wanted, present, enforcing=enforcing(), had_proxy=had_proxy, first=first)


def _start_cri_dockerd(settings: Settings) -> None:
    """kubelet has not spoken with Docker by itself since 1.24; this stands between."""
    program = str(cri_dockerd(settings, machine().architecture))
    managed_files.put_program(name="Install cri-dockerd", path=paths.CRI_DOCKERD, source=program)
    socket, pause = settings.runtime.cri_socket, pause_image(settings)
    text = templates.render("cri-docker.service.j2", program=paths.CRI_DOCKERD, socket=socket, pause_image=pause)
    managed_files.put(name="Describe its service", path=paths.CRI_DOCKERD_UNIT, text=text)
    runtime.restart_if_reconfigured(
        name="Restart cri-dockerd if its program or unit is newer than it",
        service=paths.CRI_DOCKERD_SERVICE,
        title="cri-dockerd",
        files=[paths.CRI_DOCKERD, paths.CRI_DOCKERD_UNIT],
        wanted={paths.CRI_DOCKERD_UNIT: text},
    )
    managed_files.run_service(name="Start cri-dockerd, now and at boot", service=paths.CRI_DOCKERD_SERVICE)
