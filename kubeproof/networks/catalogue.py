"""Manifests that are known, pinned by SHA-256, and which of them a Kubernetes version gets. Pure.

What projects name: flannel in its README ("For Kubernetes v1.17+", in all versions); Calico below "Kubernetes
requirements" of each version's system requirements (docs.tigera.io).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Minor = tuple[int, int]


@dataclass(frozen=True)
class Pinned:
    """One published manifest. Minors are of Kubernetes, such as "1.20"; a last one of "" is any later."""

    project: str
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
        return _within(minor, self.first, self.last)

    def is_tried(self, minor: str) -> bool:
        """Whether its project names that minor, or it was run with it here."""
        return minor in self.run or (bool(self.named[0]) and _within(minor, *self.named))

    @property
    def title(self) -> str:
        return f"{self.project} {self.version}"

    @property
    def named_for(self) -> str:
        """Minors that its project names, for people."""
        first, last = self.named
        return f"{first} to {last}" if last else f"{first} and later"


def _within(minor: str, first: str, last: str) -> bool:
    return number(first) <= number(minor) and (not last or number(minor) <= number(last))


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
        named=("1.17", ""),
        run=("1.20",),
    ),
    # The first that brings its plugin with it. Its client library is that of 1.24.
    Pinned(
        "flannel",
        "v0.20.2",
        _FLANNEL.format("v0.20.2"),
        "f6ef2b47f01ce900f156d7acf728b983b6e12c0c52e4fbbc33687ef95e28e25b",
        "1.17",
        named=("1.17", ""),
        run=("1.20",),
    ),
    # Its manifest would fit 1.17 too; the program is of a time that has not seen a 1.24 API server.
    Pinned(
        "flannel",
        "v0.28.9",
        _FLANNEL.format("v0.28.9"),
        "e875824be2f552b45711dbda91af81b17eb961d00025d914d9fef18fad8f09c0",
        "1.25",
        named=("1.17", ""),
    ),
    Pinned(
        "canal",
        "v3.24.6",
        _CALICO.format("v3.24.6"),
        "c18661da1a1242f02c017fc1dbc512e815630af51f1a6be714a1c88160ad01cb",
        "1.20",
        named=("1.22", "1.25"),
        # Felix lists them once a second for ever, and calico-node never gets ready.
        known={"1.20": "its agent needs EndpointSlices of discovery.k8s.io/v1, which the API has from 1.21 on"},
    ),
    # Its CustomResourceDefinitions have rules in CEL with isCIDR, which API servers know from 1.31 on (Kubernetes
    # documentation, "Common Expression Language in Kubernetes").
    Pinned(
        "canal",
        "v3.32.1",
        _CALICO.format("v3.32.1"),
        "aa58a7b245586a90d75d969b9184326f6218acea7e4951ce2931113cd8e91e39",
        "1.31",
        named=("1.34", "1.36"),
    ),
)
"""For each project the oldest first. Sums are of the files as published at these addresses."""


def choose(project: str, minor: str) -> Pinned | None:
    """The newest manifest of a project for a Kubernetes minor such as "1.20", tried ones first; None if there is none.

    One that is not tried is only a proposal: see :func:`doubt`.
    """
    fitting = [pinned for pinned in PINNED if pinned.project == project and pinned.fits(minor)]
    tried = [pinned for pinned in fitting if pinned.is_tried(minor)]
    best = tried or fitting
    return best[-1] if best else None


def doubt(pinned: Pinned, minor: str) -> tuple[str, str] | None:
    """Why a manifest may not run with a minor, and what comes of that; None if its project names it, or it was run."""
    if pinned.is_tried(minor):
        return None
    found = f"{pinned.title} is for Kubernetes {pinned.named_for} by its project, and was not run here with {minor}"
    return found, pinned.known.get(minor, "so nobody knows whether it would run")


def by_url(url: str) -> Pinned | None:
    return next((pinned for pinned in PINNED if pinned.url == url), None)


def by_digest(sha256: str) -> Pinned | None:
    return next((pinned for pinned in PINNED if pinned.sha256 == sha256), None)
