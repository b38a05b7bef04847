"""Copies of the cluster's admin kubeconfig. Its content is a credential and is printed nowhere."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.facts.files import Sha256File

from kubeproof.facts.files import Mentions
from kubeproof.node import paths
from kubeproof.operations.remote import NodeError, on_host, run
from kubeproof.operations.resetting import restore_file

PRIVATE = 0o600


@operation()
def for_root() -> Generator[str, None, None]:
    """Give root on the control plane host the kubeconfig that kubectl looks for."""
    wanted = host.get_fact(Sha256File, path=paths.ADMIN_CONF)
    if wanted and wanted == host.get_fact(Sha256File, path=paths.ROOT_KUBECONFIG):
        host.noop("root has the kubeconfig")
        return
    yield f"install -D --mode=0600 {paths.ADMIN_CONF} {paths.ROOT_KUBECONFIG}"


@operation()
def fetch(destination: str) -> Generator[PyinfraCommand, None, None]:
    """Copy the kubeconfig to ``destination`` on the machine that runs the deploy, for its user only."""
    path = Path(destination).expanduser()
    wanted = host.get_fact(Sha256File, path=paths.ADMIN_CONF)
    if wanted and wanted == _digest(path) and path.stat().st_mode & 0o777 == PRIVATE:
        host.noop(f"{path} is up to date")
        return
    yield on_host(_fetch, path)


def _fetch(host: Host, path: Path) -> None:
    content = run(host, ["cat", paths.ADMIN_CONF]) + "\n"
    try:
        write_private_locally(path, content)
    except OSError as error:
        raise NodeError(f"kubeconfig: cannot write {path} here ({error.strerror}); correct the setting") from error


def write_private_locally(path: Path, content: str) -> None:
    """Replace a file at once, so that no reader ever sees half of it, with mode 0600."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(name).unlink()
        raise


@operation()
def forget(destination: str, server: str) -> Generator[PyinfraCommand, None, None]:
    """Remove the copy at ``destination`` on the machine that runs the deploy, if it is of the cluster at ``server``."""
    path = Path(destination).expanduser()
    if not path.is_file() or f"server: {server}\n" not in path.read_text():
        host.noop("there is no copy of this cluster's kubeconfig")
        return
    yield on_host(_forget, path)


@operation()
def forget_roots(server: str) -> Generator[str, None, None]:
    """Give root on the control plane host the kubeconfig from before back, if the present one is of ``server``."""
    if not host.get_fact(Mentions, path=paths.ROOT_KUBECONFIG, text=f"server: {server}"):
        host.noop("root has no kubeconfig of this cluster")
        return
    yield from restore_file(paths.ROOT_KUBECONFIG)


def _forget(host: Host, path: Path) -> None:
    path.unlink(missing_ok=True)


def _digest(path: Path) -> str | None:
    """SHA-256 of a file here, or None if there is no such file."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
