"""The kubeconfig of whoever runs this, which a cluster is merged into and taken out of. Its content is printed nowhere.

As for kubectl, which is not needed, it is the first file of KUBECONFIG, else ~/.kube/config, and nobody writes it while
there is FILE.lock (client-go, tools/clientcmd). What was written here has an extension that says so.
"""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubeproof.config.cluster import LoadedInventory
from kubeproof.networks import documents
from kubeproof.state import kubernetes_yaml
from kubeproof.terminal import atomic_files
from kubeproof.terminal.errors import UserError

PARTS = {"clusters": "cluster", "users": "user", "contexts": "context"}
"""Lists of a kubeconfig, and what an entry has beside its name."""
EXTENSION = "kubeproof"
MARK = {"name": EXTENSION, "extension": {"provider": EXTENSION}}
PRIVATE = 0o600

Config = Mapping[str, Any]


def files(caller: Path) -> list[Path]:
    """All files that kubectl reads, the one that is written to first; names are relative to the ``caller``'s folder."""
    named = [name for name in os.environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    paths = [caller / name for name in named] or [Path("~/.kube/config").expanduser()]
    # A link stays one: what it leads to is replaced.
    return [Path(os.path.realpath(path)) for path in paths]


def merge(loaded: LoadedInventory, name: str, caller: Path) -> tuple[Path, bool]:
    """Merge the cluster, from the copy that a deploy has made, into the user's kubeconfig; the file, and whether it
    changed. Raises UserError, before anything is written, if something else has the ``name``, or a file cannot be used.
    """
    path, *others = files(caller)
    copy = Path(loaded.cluster.settings.kubeconfig).expanduser()
    if os.path.realpath(copy) == str(path):
        raise UserError(f"{path}: is the cluster's own kubeconfig (setting kubeconfig), there is nothing to merge")
    own = entries_of(_read(copy), loaded.cluster.api_url)
    if own is None:
        raise UserError(f"{copy}: is no kubeconfig of this cluster, run `{loaded.inv('apply')}` first")
    rest = [_read(other) for other in others]
    return path, _replace(path, lambda config: merged(config, own, name, rest, str(path))) or _made_private(path)


def forget(loaded: LoadedInventory, caller: Path) -> list[Path]:
    """Take out what was merged of the cluster, wherever it is; the files that changed. Raises UserError."""
    server = loaded.cluster.api_url
    return [path for path in files(caller) if path.exists() and _replace(path, lambda config: without(config, server))]


def entries_of(config: Config, server: str) -> dict[str, Any] | None:
    """Cluster, user and context of a kubeconfig's own context, by the names of their lists; None if it is not of the
    ``server``. Pure."""
    context = _named(config, "contexts", config.get("current-context"))
    cluster = _named(config, "clusters", context.get("cluster"))
    user = _named(config, "users", context.get("user"))
    return {"clusters": cluster, "users": user, "contexts": {}} if user and cluster.get("server") == server else None


def merged(config: Config, own: Config, name: str, others: Sequence[Config] = (), origin: str = "") -> dict[str, Any]:
    """A kubeconfig with the entries under a name; all else is as it was. Pure.

    ``others`` are files that kubectl reads too: the name has to be free there as well, and none of their contexts stops
    to be the current one. Raises UserError.
    """
    if any(_is_foreign(each, name, own["clusters"]["server"]) for each in (config, *others)):
        raise UserError(
            f"{origin}: has something else named {name} (or another file of KUBECONFIG has), use --name NAME"
        )
    made: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", **config}
    for part, key in PARTS.items():
        # A namespace that the user has chosen stays.
        old = _named(config, part, name)
        value = {**(old if part == "contexts" else {}), **own[part], "extensions": _extensions(old)}
        if part == "contexts":
            value |= {"cluster": name, "user": name}
        made[part] = _with(config.get(part) or [], name, {"name": name, key: value})
    if not any(each.get("current-context") for each in (config, *others)):
        made["current-context"] = name
    return made


def without(config: Config, server: str) -> dict[str, Any]:
    """A kubeconfig without what was written here of the cluster at ``server``. Pure."""
    names = {
        item["name"]
        for item in config.get("clusters") or []
        if _is_marked(_held(item, "clusters")) and _held(item, "clusters").get("server") == server
    }
    made = dict(config)
    for part in PARTS if names else ():
        items = config.get(part) or []
        made[part] = [item for item in items if not (item["name"] in names and _is_marked(_held(item, part)))]
    if config.get("current-context") in names and not _named(made, "contexts", config.get("current-context")):
        made["current-context"] = ""
    return made


def _is_foreign(config: Config, name: str, server: str) -> bool:
    """Whether a name is used for something that was not written here, and is not the same cluster either."""
    found = {part: _named(config, part, name) for part in PARTS}
    if all(_is_marked(entry) for entry in found.values() if entry):
        return False
    context = found["contexts"] or {"cluster": name, "user": name}
    same = found["clusters"].get("server") == server
    return not (same and (context.get("cluster"), context.get("user")) == (name, name))


def _named(config: Config, part: str, name: object) -> dict[str, Any]:
    """What the entry of a name holds; empty if there is none. (Of two with one name kubectl reads none.)"""
    found: Iterator[dict[str, Any]] = (_held(item, part) for item in config.get(part) or [] if item["name"] == name)
    return next(found, {})


def _held(item: Config, part: str) -> dict[str, Any]:
    return item.get(PARTS[part]) or {}


def _is_marked(entry: Config) -> bool:
    return MARK in (entry.get("extensions") or [])


def _extensions(old: Config) -> list[Any]:
    return [*(item for item in old.get("extensions") or [] if item != MARK), MARK]


def _with(items: Sequence[dict[str, Any]], name: str, new: dict[str, Any]) -> list[dict[str, Any]]:
    """The list with the entry in the place of the one of its name, else at the end."""
    if not any(item["name"] == name for item in items):
        return [*items, new]
    return [new if item["name"] == name else item for item in items]


# Files ----------------------------------------------------------------------------------------------------------------


def _replace(path: Path, change: Callable[[Config], dict[str, Any]]) -> bool:
    """Change a file, only for its user's eyes, and keep it as it was beside it; whether anything had to be changed.

    Raises UserError.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            before = path.read_bytes() if path.exists() else None
            config = _read(path)
            after = change(config)
            if after == config:
                return False
            text = _text(after, path)
            if before is not None:
                _require_own(path)
                atomic_files.write(path.with_name(f"{path.name}.before-kubeproof"), before, PRIVATE)
            atomic_files.write(path, text, PRIVATE)
            return True
    except OSError as error:
        raise UserError(f"{error.filename or path}: {error.strerror}, correct it or set KUBECONFIG") from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = path.with_name(f"{path.name}.lock")
    try:
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0))
    except FileExistsError:
        raise UserError(f"{lock}: another program is writing the kubeconfig; if none is, remove this file") from None
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _made_private(path: Path) -> bool:
    """Whether others could read a file until now."""
    if not path.stat().st_mode & 0o077:
        return False
    _require_own(path)
    path.chmod(PRIVATE)
    return True


def _require_own(path: Path) -> None:
    if path.stat().st_uid != os.geteuid():
        raise UserError(f"{path}: belongs to another user, who could not read it any more; run this as that user")


def _read(path: Path) -> dict[str, Any]:
    """The content of a kubeconfig, empty if there is no such file. Raises UserError, which tells none of it."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}, correct it or set KUBECONFIG") from error
    except UnicodeDecodeError:
        text = "\0"
    found = _parsed(text)
    if found is None:
        look = shlex.join(["kubectl", "config", "view", "--kubeconfig", str(path)])
        raise UserError(f"{path}: is no kubeconfig, correct it (`{look}` says more)")
    return found


def _parsed(text: str) -> dict[str, Any] | None:
    """What kubectl would read; None if it is no kubeconfig. Pure."""
    if not text.strip():
        return {}
    report = kubernetes_yaml.Report()
    values = [document.value for document in kubernetes_yaml.of_text(text, "", report)]
    if report.problems or len(values) != 1 or not isinstance(values[0], dict):
        return None
    config: dict[str, Any] = values[0]
    return config if all(_is_list_of(config.get(part), key) for part, key in PARTS.items()) else None


def _is_list_of(items: object, key: str) -> bool:
    return items is None or (
        isinstance(items, list)
        and all(
            isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get(key), dict | None)
            for item in items
        )
    )


def _text(config: Config, path: Path) -> str:
    """YAML that says the same to kubectl. Raises UserError for what cannot be written so."""
    text = documents.dump([dict(config)])
    if _parsed(text) != config:
        raise UserError(f"{path}: has something that would not be the same when it is written anew, name another file")
    return text
