"""Docker's images and service."""

import shlex
from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import operation

from kubeproof.facts.docker import MissingImages, RunsOldConfig

PARALLEL_PULLS = 3
"""Docker's own number of layers that it fetches at once (max-concurrent-downloads)."""


@operation()
def pull(images: Sequence[str]) -> Generator[str, None, None]:
    """Fetch the images that the host does not have."""
    missing = host.get_fact(MissingImages, images=list(images))
    if not missing:
        host.noop("all images are on the host")
        return
    yield f"printf '%s\\n' {shlex.join(missing)} | xargs -P {PARALLEL_PULLS} -n 1 docker pull --quiet"


@operation()
def restart_if_reconfigured() -> Generator[str, None, None]:
    """Restart Docker if its configuration was written after it started."""
    if not host.get_fact(RunsOldConfig):
        host.noop("Docker runs with its present configuration")
        return
    yield "systemctl restart docker.service"
