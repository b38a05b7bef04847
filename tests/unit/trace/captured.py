"""What hosts of the lab printed of one packet each, as captured; see captures/."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from kubeproof.trace.marked_packet import MarkedPacket
from kubeproof.trace.model import Packet

FOLDER = Path(__file__).with_name("captures")


@dataclass(frozen=True)
class Captured:
    marked: MarkedPacket
    raw: Mapping[str, Mapping[str, Mapping[str, str]]]
    """By node, pod ("" for the node itself), and kind."""


def captured(name: str) -> Captured:
    """``service``: TCP from a pod to a Service, by DNAT to an endpoint on another node. ``refused``: UDP from a pod to
    a port of another node's pod where nobody listens, answered by ICMP."""
    document = json.loads((FOLDER / f"{name}.json").read_text())
    protocol, source, destination, *ports = document["packet"]
    packet = Packet(protocol, IPv4Address(source), IPv4Address(destination), *ports)
    return Captured(MarkedPacket(packet, bytes.fromhex(document["nonce"]), 4242), document["raw"])
