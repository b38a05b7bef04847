"""The container runtime's images and service."""

import shlex
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.facts.files import Sha256File
from pyinfra.facts.systemd import SystemdStatus

from kubeproof.access.deadlines import IMAGES_SECONDS
from kubeproof.access.downloads import sha256
from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.config.tables.runtimes import references
from kubeproof.deploy.facts.packages import KubeadmImages, MissingImages, RunsOldConfig
from kubeproof.deploy.operations.remote import on_host, run, shell
from kubeproof.deploy.run_events import because
from kubeproof.node.images import answered, list_command
from kubeproof.node.texts import named

PARALLEL_PULLS = 3
"""Docker's own number of layers that it fetches at once (max-concurrent-downloads)."""


@dataclass(frozen=True)
class Asked:
    """Images of which only kubeadm on the host knows the tags, by names such as "etcd"."""

    names: tuple[str, ...]
    settings: Settings

    def among(self, told: Sequence[str]) -> tuple[str, ...]:
        return references(self.settings.runtime, answered(told, self.names, self.settings))


@operation()
def pull(
    images: Sequence[str], has_image: str, fetch: str, asked: Asked | None = None
) -> Generator[PyinfraCommand | str, None, None]:
    """Fetch the images that the host does not have, by the runtime's commands ``has_image`` and ``fetch``."""
    told = host.get_fact(KubeadmImages, asked=list(list_command(asked.settings))) if asked else []
    wanted = [*images, *(asked.among(told) if asked else ())]
    missing = host.get_fact(MissingImages, images=wanted, has_image=has_image)
    if missing:
        because(named("images that are not on the host:", missing))
        yield StringCommand(fetch_command(missing, fetch), _timeout=IMAGES_SECONDS)
    if asked and not told:
        because("kubeadm, which knows their tags, is not on the host yet")
        yield on_host(_pull_asked, asked, has_image, fetch)
    elif not missing:
        host.noop("all images are on the host")


def fetch_command(images: Sequence[str], fetch: str) -> str:
    """Shell text that fetches images, a few at once, and names each that cannot be had with the reason."""
    failed = 'printf "cannot pull %s: %s\\n" "$0" "$(echo "$said" | tail -n 1)" >&2; exit 1'
    one = f'said=$( {fetch} "$0" 2>&1) || {{ {failed}; }}'
    return f"printf '%s\\n' {shlex.join(images)} | xargs -P {PARALLEL_PULLS} -n 1 sh -c {shlex.quote(one)}"


def _pull_asked(host: Host, asked: Asked, has_image: str, fetch: str) -> None:
    told = run(host, list_command(asked.settings)).splitlines()
    missing = host.get_fact(MissingImages, images=list(asked.among(told)), has_image=has_image)
    if missing:
        run(host, shell(fetch_command(missing, fetch)), seconds=IMAGES_SECONDS)


@operation()
def restart_if_reconfigured(
    service: str, title: str, files: Sequence[str], wanted: Mapping[str, str] | None = None
) -> Generator[str, None, None]:
    """Restart a service if one of its files was written after it started.

    ``wanted`` are texts that files are to have by then: while a plan is made they are not written yet.
    """
    if host.get_fact(RunsOldConfig, service=service, files=list(files)):
        because(f"{service} runs since before its configuration was written")
    elif changed := _changed_for(service, wanted or {}):
        because(f"{service} runs with another {changed[0]}")
    else:
        host.noop(f"{title} runs with its present configuration")
        return
    if any(file in (paths.PROXY_ENVIRONMENT, paths.CRI_DOCKERD_UNIT) for file in files):
        # systemd has not read the drop-in or the unit yet.
        yield "systemctl daemon-reload"
    yield f"systemctl restart {service}"


def _changed_for(service: str, wanted: Mapping[str, str]) -> list[str]:
    """Paths of what a service that runs has not been started with."""
    changed = [path for path, text in wanted.items() if host.get_fact(Sha256File, path=path) != sha256(text)]
    return changed if changed and host.get_fact(SystemdStatus, services=[service]).get(service) else []
