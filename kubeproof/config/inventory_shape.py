"""What an inventory file may define: the shape of its groups, of which pyinfra drops or misreads what it does not know.

Pure. pyinfra takes a public list for a group of hosts, and a public tuple for hosts and the data that they share.
"""

from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType

from kubeproof.config import reading

ROLE_GROUPS = ("control_plane", "workers")
HOST_FORM = '("NAME", {"address": "a.b.c.d"})'

_MEANT = {
    "control_plane": (
        *("control", "controlplane", "controlplanes", "control_planes", "controller", "controllers", "etcd", "leader"),
        *("kube_control_plane", "kube_master", "kube_masters", "k8s_master", "manager", "managers", "master"),
        *("masters", "server", "servers", "main"),
    ),
    "workers": (
        *("agent", "agents", "compute", "kube_node", "kube_nodes", "kube_worker", "k8s_node", "minion", "minions"),
        *("node", "nodes", "slaves", "worker", "worker_nodes"),
    ),
}
"""What other tools call the two roles (kubespray, k3s, RKE, Swarm)."""


def meant_role(name: str) -> str | None:
    """The role's group that a group of another name was probably meant to be."""
    plain = name.lower().replace("-", "_")
    by_word = (role for role, words in _MEANT.items() if plain in words)
    return next(by_word, None) or reading.closest(plain, ROLE_GROUPS)


def problems(defined: Mapping[str, object], stem: str) -> list[str]:
    """A line for each thing that pyinfra would drop, misread or fail at. ``stem`` is the file's name without .py."""
    found: list[str] = []
    for name, value in defined.items():
        if name.startswith("_") or isinstance(value, ModuleType | FunctionType | type):
            continue
        if name in ROLE_GROUPS:
            found += _of_role(name, value)
        elif isinstance(value, list | tuple):
            found += _of_other(name, value)
        elif not isinstance(value, str) and value is not None and (role := meant_role(name)):
            found.append(f"{name}: is {_kind(value)}, which pyinfra does not read; write {role} = [{HOST_FORM}]")
    if stem in ROLE_GROUPS and stem not in defined:
        found.append(f"{stem}.py: has the name of a group, so all its hosts would be in it; give the file another name")
    return [reading.printable(line) for line in dict.fromkeys(found)]


def _of_role(name: str, value: object) -> Iterator[str]:
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], list) and isinstance(value[1], dict):
        yield from _keys(name, value[1])
        value = value[0]  # hosts, and the data that they share
    if isinstance(value, list):
        for position, item in enumerate(value, start=1):
            yield from _of_host(f"{name}, host {position}", item)
        return
    yield f"{name}: is no list but {_kind(value)}, put its hosts in square brackets: {name} = [{HOST_FORM}]"


def _of_host(where: str, item: object) -> Iterator[str]:
    match item:
        case str() as host:
            yield from _name(where, host)
        case (str() as host, dict() as data) if isinstance(item, tuple):
            yield from _name(where, host)
            yield from _keys(host, data)
        case _:
            yield f"{where}: is no host ({_shown(item)}), write {HOST_FORM}"


def _name(where: str, host: str) -> Iterator[str]:
    if host.startswith("@"):
        wrong = f"host {host}: is a connector of pyinfra's, and the hosts of a cluster are reached by ssh"
        yield f"{wrong}; write {HOST_FORM}, or take them by kubeproof.config.other_tools"
    elif "@" in host:
        user, _, rest = host.rpartition("@")
        yield f"host {host}: is no name of a host, write {_shown(rest)} and set ssh_user to {_shown(user)}"
    elif not host:
        yield f"{where}: has an empty name, write {HOST_FORM}"


def _keys(owner: str, data: Mapping[object, object]) -> Iterator[str]:
    for key in data:
        if not isinstance(key, str):
            yield f"{owner}: has data without a name ({_shown(key)}), put names in quotes"


def _of_other(name: str, value: "list[object] | tuple[object, ...]") -> Iterator[str]:
    """A list of texts is taken for a group, and said to be none later; pyinfra fails at most tuples."""
    helper = f"if it is no group of hosts, begin its name with an underscore: _{name}"
    hosts = value
    if isinstance(value, tuple):
        if len(value) != 2 or not isinstance(value[0], list) or not isinstance(value[1], dict):
            yield f"{name}: is a tuple, which pyinfra reads as a group; {helper}"
            return
        hosts = value[0]
    for host in hosts:
        pair = isinstance(host, tuple) and len(host) == 2 and isinstance(host[0], str) and isinstance(host[1], dict)
        if isinstance(host, tuple) and not pair:
            yield f"{name}: has the item {_shown(host)}, which is no host; {helper}"
        label = host[0] if isinstance(host, tuple) and pair else host
        if isinstance(label, str) and label.startswith("@"):
            yield from _name(name, label)
    if meant_role(name) and any(not isinstance(host, str | tuple) for host in hosts):
        yield f"{name}: is read by nobody, since not all its items are hosts; write {meant_role(name)} = [{HOST_FORM}]"


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"


def _shown(value: object) -> str:
    try:
        written = repr(value)
    except Exception:  # somebody else's object may fail at that
        return _kind(value)
    return written if len(written) <= 60 else f"{written[:57]}…"
