"""Published manifests: those that are known, and how one is fitted to the settings of a cluster, as data. Pure.

Only what has to differ is touched; a manifest that is not built as the known ones is refused by the name of what is
missing, never half patched.
"""

import copy
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kubeproof.networks import documents, references
from kubeproof.terminal.errors import UserError

if TYPE_CHECKING:
    from kubeproof.config.settings import Settings

Object = dict[str, Any]


@dataclass(frozen=True)
class Pinned:
    """One published manifest. Minors are of Kubernetes, such as "1.20"; a last one of "" is any later."""

    project: str
    """Value of the setting cni."""
    version: str
    url: str
    sha256: str
    first: str
    last: str = ""
    """From ``first`` to ``last`` the API serves what it asks for, or what is done about the rest (see api.py)."""
    named: tuple[str, str] = ("", "")
    """First and last that its project names for it: no manifest tells which APIs a program asks for."""
    run: tuple[str, ...] = ()
    """Those that it was run with here, as published, and proven."""
    known: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What is known to go wrong, by minor."""

    def fits(self, minor: str) -> bool:
        """Whether the API of a minor version such as "1.20" serves it."""
        return within(minor, self.first, self.last)

    def is_tried(self, minor: str) -> bool:
        """Whether its project names that minor, or it was run with it here."""
        return minor in self.run or (bool(self.named[0]) and within(minor, *self.named))

    @property
    def title(self) -> str:
        return f"{self.project} {self.version}"

    @property
    def named_for(self) -> str:
        """Minors that its project names, for people."""
        first, last = self.named
        return f"{first} to {last}" if last else f"{first} and later"


def number(minor: str) -> tuple[int, int]:
    """A minor version such as "1.20", to be compared."""
    major, _, rest = minor.partition(".")
    return int(major), int(rest)


def within(minor: str, first: str, last: str) -> bool:
    """Whether a minor is one of ``first`` to ``last``; a last one of "" is any later."""
    return number(first) <= number(minor) and (not last or number(minor) <= number(last))


class UnknownManifestError(Exception):
    """The manifest lacks something that the known ones have; it becomes a UserError with the manifest's name."""


@dataclass(frozen=True)
class Manifest(ABC):
    """How a project's manifests are built, the same in all its versions."""

    project: str
    """Value of the setting cni."""
    config_map: str
    daemon_set: str
    cni_config: str
    """Key of the ConfigMap that has the CNI configuration."""
    brings: tuple[str, ...]
    """Plugins that an init container puts into /opt/cni/bin, if one has that folder mounted."""
    pinned: tuple[Pinned, ...]
    """Those that are known, the oldest first."""

    @abstractmethod
    def fit(self, objects: list[Object], settings: "Settings", mtu: int | None) -> None:
        """Change the objects to what the settings want; raise UnknownManifestError or an error of Python's own.

        ``mtu`` is what a packet of a pod can have, in bytes; None leaves that to the network.
        """

    @abstractmethod
    def overruled(self, objects: list[Object], settings: "Settings") -> list[str]:
        """What the manifest asks for and the settings overrule, for people. May change the objects."""

    @abstractmethod
    def told(self, data: Object) -> dict[str, object]:
        """Settings by name as the ConfigMap has them, an MTU that is not set as an empty text; raise as ``fit``."""

    def patch(self, objects: Sequence[Object], settings: "Settings", mtu: int | None, origin: str) -> list[Object]:
        """A copy of the objects that does what is set. Raises UserError naming what the manifest lacks."""
        patched = copy.deepcopy(list(objects))
        try:
            self.fit(patched, settings, mtu)
            for container in references.containers(patched):
                container["image"] = references.in_repository(container["image"], settings.cni_image_repository)
        except UnknownManifestError as unknown:
            raise UserError(
                f"cni_manifest: {origin} {unknown}, so it is none that this project can fit; leave cni_manifest empty"
            ) from None
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"cni_manifest: {origin} is built in another way than a manifest of {self.project} ({error!r}), leave "
                "cni_manifest empty"
            ) from None
        return patched

    def left_out(self, objects: Sequence[Object], settings: "Settings") -> list[str]:
        """What a manifest asks for and the settings overrule, for people."""
        return self.overruled(copy.deepcopy(list(objects)), settings)

    def in_use(self, text: str) -> dict[str, str]:
        """Settings that the ConfigMap has in the YAML that was applied; empty where it cannot be read.

        The network's agents read it when they start, and are not started again when it changes. An MTU that is not set
        is an empty text.
        """
        try:
            found = self.told(self.data(documents.load(text, "it")))
        except (UnknownManifestError, UserError, KeyError, TypeError, AttributeError, StopIteration):
            return {}
        return {name: str(value) for name, value in found.items()}

    def cni_configuration(self, objects: Sequence[Object]) -> str:
        """The text of the CNI configuration, empty if there is none. Raises UserError if there is no ConfigMap."""
        try:
            return str(self.data(objects).get(self.cni_config) or "")
        except UnknownManifestError as unknown:
            raise UserError(f"cni_manifest: {unknown}, leave cni_manifest empty") from None

    def data(self, objects: Sequence[Object]) -> Object:
        """What the ConfigMap holds."""
        data = _one(objects, "ConfigMap", self.config_map).get("data")
        if not isinstance(data, dict):
            raise UnknownManifestError(f"has no data in ConfigMap {self.config_map}")
        return data

    def json(self, data: Object, key: str) -> Object:
        """The JSON object that is the text of a key of the ConfigMap."""
        if key not in data:
            raise UnknownManifestError(f"has no key {key} in ConfigMap {self.config_map}")
        try:
            config = json.loads(data[key])
        except ValueError as error:
            raise UnknownManifestError(f"has a {key} that is no JSON ({error})") from None
        if not isinstance(config, dict):
            raise UnknownManifestError(f"has a {key} that is no JSON object")
        return config

    def container(self, objects: Sequence[Object], name: str) -> Object:
        """A container of the DaemonSet."""
        spec = _one(objects, "DaemonSet", self.daemon_set)["spec"]["template"]["spec"]
        for container in spec.get("containers") or ():
            if container.get("name") == name:
                found: Object = container
                return found
        raise UnknownManifestError(f"has no container {name} in DaemonSet {self.daemon_set}")


def _one(objects: Sequence[Object], kind: str, name: str) -> Object:
    found = [item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    if len(found) != 1:
        raise UnknownManifestError(f"has {'no' if not found else 'more than one'} {kind} {name}")
    return found[0]


def written(config: Object) -> str:
    """JSON as the text of a key of a ConfigMap."""
    return json.dumps(config, indent=2) + "\n"


def set_variable(container: Object, name: str, value: Object, after: str = "") -> None:
    """Set an environment variable: in its place if it is there, else after another one or at the end."""
    known = list(variables(container))
    names = [item.get("name") for item in known]
    if name in names:
        known[names.index(name)] = {"name": name, **value}
    else:
        place = names.index(after) + 1 if after in names else len(known)
        known.insert(place, {"name": name, **value})
    container["env"] = known


def variables(container: Object) -> Iterator[Object]:
    """The environment variables of a container."""
    yield from container.get("env") or ()
