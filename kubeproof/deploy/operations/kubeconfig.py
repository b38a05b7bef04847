"""Copies of the cluster's admin kubeconfig. Its content is a credential and is printed nowhere."""

from collections.abc import Generator
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.facts.files import Sha256File

from kubeproof.access.downloads import sha256
from kubeproof.config.tables import paths
from kubeproof.deploy.facts.kubernetes import KubeconfigOf
from kubeproof.deploy.operations.remote import NodeError, on_host, run
from kubeproof.deploy.operations.resetting import restore_file
from kubeproof.deploy.run_events import because
from kubeproof.node.kubeconfigs import Kubeconfig, read
from kubeproof.terminal import atomic_files

PRIVATE = 0o600


@operation()
def for_root(server: str) -> Generator[str, None, None]:
    """Give root on the control plane host the kubeconfig that kubectl looks for, unless root has other clusters'."""
    wanted = host.get_fact(Sha256File, path=paths.ADMIN_CONF)
    if wanted and wanted == host.get_fact(Sha256File, path=paths.ROOT_KUBECONFIG):
        host.noop("root has the kubeconfig")
        return
    present = host.get_fact(KubeconfigOf, path=paths.ROOT_KUBECONFIG)
    if present and not present.is_only_of(server):
        _leave(f"{paths.ROOT_KUBECONFIG} there")
        return
    because(f"{paths.ROOT_KUBECONFIG} is {'another one' if present else 'not there'}")
    yield f"install -D --mode=0600 {paths.ADMIN_CONF} {paths.ROOT_KUBECONFIG}"


@operation()
def fetch(destination: str, server: str) -> Generator[PyinfraCommand, None, None]:
    """Copy the kubeconfig to ``destination`` on the machine that runs the deploy, for its user only.

    A file there that has other clusters' stays.
    """
    path = Path(destination).expanduser()
    wanted = host.get_fact(Sha256File, path=paths.ADMIN_CONF)
    if wanted and wanted == _digest(path) and path.stat().st_mode & 0o777 == PRIVATE:
        host.noop(f"{path} is up to date")
        return
    present = _of_local(path)
    if present and not present.is_only_of(server):
        _leave(f"{path} here", "; set `kubeconfig` to another path for a copy")
        return
    because(f"{path} here is {'another one, or others may read it' if present else 'not there'}")
    yield on_host(_fetch, path)


def _fetch(host: Host, path: Path) -> None:
    content = run(host, ["cat", paths.ADMIN_CONF]) + "\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_files.write(path, content, PRIVATE)
    except OSError as error:
        raise NodeError(f"kubeconfig: cannot write {path} here ({error.strerror}); correct the setting") from error


@operation()
def forget(destination: str, server: str) -> Generator[PyinfraCommand, None, None]:
    """Remove the copy at ``destination`` on the machine that runs the deploy, if it is of the cluster at ``server``."""
    path = Path(destination).expanduser()
    present = _of_local(path)
    if not present or server not in present.servers:
        host.noop("there is no copy of this cluster's kubeconfig")
        return
    if not present.is_only_of(server):
        _leave(f"{path} here")
        return
    yield on_host(_forget, path)


@operation()
def forget_roots(server: str) -> Generator[str, None, None]:
    """Give root on the control plane host the kubeconfig from before back, if the present one is of ``server``."""
    present = host.get_fact(KubeconfigOf, path=paths.ROOT_KUBECONFIG)
    if not present or server not in present.servers:
        host.noop("root has no kubeconfig of this cluster")
        return
    if not present.is_only_of(server):
        _leave(f"{paths.ROOT_KUBECONFIG} there")
        return
    yield from restore_file(paths.ROOT_KUBECONFIG)


def _forget(host: Host, path: Path) -> None:
    path.unlink(missing_ok=True)


def _leave(what: str, advice: str = "") -> None:
    text = f"{what} is not for this cluster alone, it is left as it is{advice}"
    host.noop(text)
    logger.warning(f"{host.print_prefix}{text}")


def _of_local(path: Path) -> Kubeconfig | None:
    """Whose a file here is, or None if there is none; what cannot be read is nobody's, so it is left alone."""
    try:
        return read(path.read_text().splitlines())
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        return Kubeconfig()


def _digest(path: Path) -> str | None:
    """SHA-256 of a file here, or None if there is no such file or it cannot be read."""
    try:
        return sha256(path.read_bytes())
    except OSError:
        return None
