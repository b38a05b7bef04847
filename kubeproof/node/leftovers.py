"""Which files and directories a reset removes or empties on a host. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from kubeproof.config.tables import paths
from kubeproof.networks import artifacts
from kubeproof.node.record import (
    CLUSTER_DIRECTORIES,
    CLUSTER_PATHS,
    COMMON_DIRECTORIES,
    CRI_PATHS,
    DEPLOY_PATHS,
    DOCKER_DIRECTORIES,
    DOCKER_PATHS,
    Record,
)

CLUSTER_FILES = (*artifacts.CONFIGURATION_FILES, "/run/flannel/subnet.env", *(paths.MANIFESTS, paths.INIT_CONFIG))
KUBECTL_CACHE = "/root/.kube/cache"
DOCKER_KEY = "/etc/docker/key.json"
"""Docker makes it at its first start (its documentation calls it the trust key)."""
RUNTIMES = ("docker", "containerd")
DROP_INS = ("kubeproof.conf", "kubeproof-proxy.conf")
APT_LISTS = "/var/lib/apt/lists"
DEPLOY_FILES = (
    paths.SYSCTL_FILE,
    paths.MODULES_FILE,
    paths.TMPFILES,
    paths.APT_SOURCE,
    paths.APT_KEYRING,
    paths.RPM_SOURCE,
    paths.RPM_KEYRING,
    paths.RUNTIME_SOURCE,
    paths.RUNTIME_KEYRING,
    paths.APT_PROXY,
    *(f"/etc/systemd/system/{name}.service.d/{file}" for name in RUNTIMES for file in DROP_INS),
    paths.CRI_DOCKERD,
    paths.CRI_DOCKERD_UNIT,
    paths.NETWORK_MANAGER_CONFIG,
    paths.LOCK,
)


@dataclass(frozen=True)
class Leftovers:
    removed: tuple[str, ...] = ()
    """Paths to remove with everything below."""
    emptied: tuple[str, ...] = ()
    """Directories of which only the contents go."""
    tidied: tuple[str, ...] = ()
    """Directories to remove if nothing is in them then, in this order."""


def of_cluster() -> Leftovers:
    """What only a cluster can have left, whatever was there before."""
    return Leftovers(removed=CLUSTER_FILES, emptied=CLUSTER_DIRECTORIES)


def apt_lists(url: str) -> tuple[str, ...]:
    """Files in which apt keeps the index of a flat repository (apt's URItoFileName: no scheme, _ for each slash)."""
    stem = url.partition("://")[2].rstrip("/").replace("_", "%5f").replace("/", "_")
    return tuple(f"{APT_LISTS}/{stem}_{name}" for name in ("InRelease", "Release", "Release.gpg", "Packages"))


def of_deploy(record: Record, runtime: bool, registries: Sequence[str] = ()) -> Leftovers:
    """What was not there before the first deploy; what was there is a directory, such as a mount point, and stays.

    ``runtime`` tells whether the container runtime goes as well; ``registries`` are those of which containerd was told
    how they are reached.
    """
    kept = set(record.paths)
    candidates = (*CLUSTER_PATHS, *(DOCKER_PATHS if runtime else ()), *CRI_PATHS, *DEPLOY_PATHS)
    own = [path for path in candidates if path not in kept]
    # What tools of the deploy make by themselves in a directory that is not theirs alone.
    in_common = (KUBECTL_CACHE, *((DOCKER_KEY,) if runtime else ()))
    own += [path for path in in_common if path.rpartition("/")[0] not in kept]
    own += [f"{paths.CONTAINERD_REGISTRIES}/{name}" for name in registries]
    emptied = DOCKER_DIRECTORIES if runtime else ()
    return Leftovers(
        removed=(*own, *DEPLOY_FILES),
        emptied=tuple(path for path in emptied if path in kept),
        tidied=tuple(path for path in COMMON_DIRECTORIES if path not in kept),
    )
