"""Docker: its configuration comes before its package, so that it starts with it and needs no restart."""

from io import StringIO

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.operations import files, systemd

from kubeproof.facts.files import Text
from kubeproof.node import paths, templates
from kubeproof.node.docker_config import merged
from kubeproof.operations import docker, kernel
from kubeproof.roles import cluster


@deploy("Container runtime")
def configure() -> None:
    """Place Docker's configuration. What a host that had Docker has configured besides, such as data-root, stays."""
    wanted = templates.render("daemon.json.j2", settings=cluster().settings)
    files.put(
        name="Configure Docker",
        src=StringIO(merged(host.get_fact(Text, path=paths.DOCKER_CONFIG), wanted)),
        dest=paths.DOCKER_CONFIG,
        mode="644",
    )
    files.put(
        name="Have Docker drop forwarded packets by default, at boot",
        src=StringIO(templates.render("docker-drop-in.conf.j2")),
        dest=paths.DOCKER_DROP_IN,
        mode="644",
    )


@deploy("Container runtime")
def start() -> None:
    """Have Docker run, with that configuration."""
    docker.restart_if_reconfigured(name="Restart Docker if its configuration is newer than it")
    systemd.service(name="Start Docker, now and at boot", service="docker.service", running=True, enabled=True)
    kernel.drop_forwarded(name="Drop forwarded packets by default, now")
