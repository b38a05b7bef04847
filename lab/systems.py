"""Operating systems that the lab's nodes can have. All of them come from the archive that this machine uses."""

from dataclasses import dataclass

from kubeproof.config.tables import systems


@dataclass(frozen=True)
class NodeSystem:
    """A release of Debian: ``name`` as in the settings, such as "debian-13", ``release`` as in the archive."""

    name: str
    release: str

    @property
    def packages(self) -> systems.System:
        """What the deploy knows of it."""
        return systems.SYSTEMS[self.name.replace("-", " ")]

    @property
    def repository(self) -> str:
        """Name of the mirror's repository of its packages."""
        return "debian" if self is DEFAULT else self.name

    def kind(self, of_default: str) -> str:
        """Kind of what the cache keeps of it: entries of one kind replace each other."""
        return of_default if self is DEFAULT else f"{of_default}-{self.name}"


DEFAULT = NodeSystem("debian-12", "bookworm")
SYSTEMS = {system.name: system for system in (DEFAULT, NodeSystem("debian-13", "trixie"))}
