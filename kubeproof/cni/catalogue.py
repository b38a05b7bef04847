"""Manifests that are known, pinned by SHA-256, and which of them a Kubernetes version gets. Pure."""

from dataclasses import dataclass

Minor = tuple[int, int]


@dataclass(frozen=True)
class Pinned:
    """One published manifest. ``first`` and ``last`` are the Kubernetes minors that it is for; last "" is any later."""

    project: str
    version: str
    url: str
    sha256: str
    first: str
    last: str = ""

    def fits(self, minor: str) -> bool:
        """Whether it is for a minor version such as "1.20"."""
        return number(self.first) <= number(minor) and (not self.last or number(minor) <= number(self.last))

    @property
    def title(self) -> str:
        return f"{self.project} {self.version}"


def number(minor: str) -> Minor:
    """A minor version such as "1.20", to be compared."""
    major, _, rest = minor.partition(".")
    return int(major), int(rest)


_FLANNEL = "https://raw.githubusercontent.com/flannel-io/flannel/{}/Documentation/kube-flannel.yml"
_CALICO = "https://raw.githubusercontent.com/projectcalico/calico/{}/manifests/canal.yaml"

PINNED = (
    # PodSecurityPolicy is gone in 1.25, and the flannel plugin has to be on the host: v0.20.2 goes before it
    # everywhere, this one is there for those who name it.
    Pinned(
        "flannel",
        "v0.14.0",
        _FLANNEL.format("v0.14.0"),
        "adffe27e66ce9e39af59f313711bee5ea88ce161683da7a089a7301093736646",
        "1.17",
        "1.24",
    ),
    # The first that brings its plugin with it. Its client library is that of 1.24.
    Pinned(
        "flannel",
        "v0.20.2",
        _FLANNEL.format("v0.20.2"),
        "f6ef2b47f01ce900f156d7acf728b983b6e12c0c52e4fbbc33687ef95e28e25b",
        "1.17",
    ),
    # Its manifest would fit 1.17 too; the program is of a time that has not seen a 1.24 API server.
    Pinned(
        "flannel",
        "v0.28.9",
        _FLANNEL.format("v0.28.9"),
        "e875824be2f552b45711dbda91af81b17eb961d00025d914d9fef18fad8f09c0",
        "1.25",
    ),
    # Calico names 1.22 to 1.25 for it; all that 1.20 lacks of what it asks for is policy/v1 (see api.py).
    Pinned(
        "canal",
        "v3.24.6",
        _CALICO.format("v3.24.6"),
        "c18661da1a1242f02c017fc1dbc512e815630af51f1a6be714a1c88160ad01cb",
        "1.20",
    ),
    # Its CustomResourceDefinitions have rules in CEL with isCIDR, which API servers know from 1.31 on (Kubernetes
    # documentation, "Common Expression Language in Kubernetes").
    Pinned(
        "canal",
        "v3.32.1",
        _CALICO.format("v3.32.1"),
        "aa58a7b245586a90d75d969b9184326f6218acea7e4951ce2931113cd8e91e39",
        "1.31",
    ),
)
"""For each project the oldest first. Sums are of the files as published at these addresses."""


def choose(project: str, minor: str) -> Pinned | None:
    """The newest manifest of a project for a Kubernetes minor such as "1.20"; None if there is none."""
    fitting = [pinned for pinned in PINNED if pinned.project == project and pinned.fits(minor)]
    return fitting[-1] if fitting else None


def by_url(url: str) -> Pinned | None:
    return next((pinned for pinned in PINNED if pinned.url == url), None)


def by_digest(sha256: str) -> Pinned | None:
    return next((pinned for pinned in PINNED if pinned.sha256 == sha256), None)
