"""What an inventory may say: hosts, groups and data that pyinfra itself takes without a word. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pyinfra.api.arguments import all_global_arguments
from pyinfra.connectors.ssh import ConnectorData

from kubeproof.config import connection_data, reading
from kubeproof.config.inventory_shape import ROLE_GROUPS, meant_role
from kubeproof.config.settings import NAMES

HOST_DATA = ("address",)
PYINFRA_DATA = frozenset(ConnectorData.__annotations__) | {name for name, _ in all_global_arguments() if name != "name"}
"""Data that pyinfra reads: how to connect, and the global arguments such as _sudo; the name is each operation's own."""


@dataclass(frozen=True)
class HostEntry:
    """A host as pyinfra sees it; ``data`` is merged from all its groups. A group may occur twice in ``groups``."""

    name: str
    groups: tuple[str, ...]
    data: Mapping[str, object]


@dataclass(frozen=True)
class Contents:
    """An inventory without its connections.

    ``data_without_hosts`` are groups that have data but no host, as a misnamed group_data file makes them;
    ``group_files`` are the names such files may have, or None if that is not known.
    """

    hosts: tuple[HostEntry, ...]
    data_without_hosts: frozenset[str] = frozenset()
    group_files: frozenset[str] | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "hosts": [asdict(host) for host in self.hosts],
            "data_without_hosts": sorted(self.data_without_hosts),
            "group_files": None if self.group_files is None else sorted(self.group_files),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Contents":
        files = document["group_files"]
        return cls(
            tuple(HostEntry(host["name"], tuple(host["groups"]), host["data"]) for host in document["hosts"]),
            frozenset(document["data_without_hosts"]),
            None if files is None else frozenset(files),
        )


def checked_hosts(contents: Contents) -> tuple[dict[str, object], list[str]]:
    """The raw settings that all hosts agree on, and a line for each problem with hosts, groups and data names."""
    problems = [
        *_name_problems(contents),
        *_group_problems(contents),
        *_role_problems(contents),
        *_group_file_problems(contents),
        *(line for host in contents.hosts for line in connection_data.problems(host.name, host.data)),
    ]
    raw: dict[str, object] = {}
    for host in contents.hosts:
        for name, value in host.data.items():
            if name in HOST_DATA or name in PYINFRA_DATA:
                continue
            if raw.setdefault(name, value) != value:
                problems.append(f"{name}: differs between hosts ({host.name}: {value!r}), set it for all of them alike")
    return raw, list(dict.fromkeys(problems)) + _unknown_data(raw)


def _unknown_data(raw: dict[str, object]) -> list[str]:
    """Take names that nothing reads out of ``raw``, and say which was meant."""
    known = {*NAMES, *HOST_DATA, *PYINFRA_DATA}
    problems = reading.without_unknown(raw.keys(), known, connection_data.OTHER_WORDS)
    for name in set(raw) - set(NAMES):
        del raw[name]
    return problems


def _name_problems(contents: Contents) -> Iterator[str]:
    for host in contents.hosts:
        try:
            reading.dns_name(host.name)
        except reading.RefusedError as refused:
            yield refused.line(f"host {host.name}", host.name)


def _group_problems(contents: Contents) -> Iterator[str]:
    """Groups that nothing reads; the one that pyinfra makes of the file's name has every host in it."""
    everyone = {host.name for host in contents.hosts}
    members: dict[str, set[str]] = {}
    for host in contents.hosts:
        for group in host.groups:
            members.setdefault(group, set()).add(host.name)
    for group, names in sorted(members.items()):
        meant = meant_role(group)
        instead = meant == "control_plane" and meant not in members
        if group not in ROLE_GROUPS and (names != everyone or instead):
            other = f"use {' and '.join(ROLE_GROUPS)}, or _{group} if it is no group of hosts"
            hint = f"did you mean {meant}?" if meant else other
            yield f"group {group}: no such group ({', '.join(sorted(names))}), {hint}"


def _role_problems(contents: Contents) -> Iterator[str]:
    leaders = [host.name for host in contents.hosts if "control_plane" in host.groups]
    if len(leaders) != 1:
        found = ", ".join(leaders) or "none"
        yield f"group control_plane: has {len(leaders)} hosts ({found}), name exactly one"
    for host in contents.hosts:
        roles = [group for group in ROLE_GROUPS if group in host.groups]
        if not roles:
            yield f"{host.name}: is in no role's group, list it in control_plane or workers"
        elif len(roles) > 1:
            yield f"{host.name}: is in both control_plane and workers, remove it from one"
        for group in roles:
            if host.groups.count(group) > 1 and not host.name.startswith("@"):  # pyinfra lists a connector twice
                yield f"{host.name}: is named twice in {group}, remove one"


def _group_file_problems(contents: Contents) -> Iterator[str]:
    known = {"all", *ROLE_GROUPS, *(contents.group_files or ())}
    for name in sorted(contents.data_without_hosts - known):
        meant = reading.closest(name, known)
        if contents.group_files is None and meant is None:
            continue  # may belong to an inventory beside this one
        hint = f"did you mean {meant}.py?" if meant else f"use one of {', '.join(sorted(known))}"
        yield f"group_data/{name}.py: no host is in a group of that name, {hint}"
