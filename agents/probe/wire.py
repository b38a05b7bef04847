"""What a server answers: one line of JSON that names it, the same for all protocols. Pure but for the environment."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

PORTS = (80, 81)
"""Ports of every protocol that the server answers on."""
MAX_ANSWER = 1024
"""Bytes; an answer is far shorter than the smallest MTU of IPv4 hosts (576, RFC 791)."""


@dataclass(frozen=True)
class Identity:
    """The pod that answers, as "namespace/name"."""

    pod: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Identity":
        """Read POD_NAMESPACE and POD_NAME, which the pod's object sets from its own metadata."""
        return cls(f"{environment.get('POD_NAMESPACE', 'unknown')}/{environment.get('POD_NAME', 'unknown')}")


@dataclass(frozen=True)
class Answer:
    """Who answered, on which of its ports, and which client address it saw."""

    pod: str
    protocol: str
    port: int
    client: str

    def to_bytes(self) -> bytes:
        return json.dumps(vars(self), separators=(",", ":")).encode() + b"\n"


def read_answer(data: bytes) -> Answer | None:
    """The answer in ``data``; None where it is not one, because something else listens there."""
    try:
        values = json.loads(data)
        return Answer(str(values["pod"]), str(values["protocol"]), int(values["port"]), str(values["client"]))
    except (ValueError, KeyError, TypeError):
        return None
