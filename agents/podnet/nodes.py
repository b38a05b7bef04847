"""What podnet needs to know of a Node object. Pure."""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

MAC_ANNOTATION = "podnet.kubeproof.dev/vtep-mac"
IP_ANNOTATION = "podnet.kubeproof.dev/public-ip"


@dataclass(frozen=True)
class Node:
    """One node of the cluster.

    ``address`` is its first IPv4 InternalIP, ``pod_cidr`` its IPv4 podCIDR; ``public_ip`` and ``vtep_mac`` are what
    its podnet has published. Each is None where it is missing or cannot be used.
    """

    name: str
    address: IPv4Address | None = None
    pod_cidr: IPv4Network | None = None
    public_ip: IPv4Address | None = None
    vtep_mac: str | None = None


def read_node(item: dict[str, Any]) -> Node:
    annotations = item["metadata"].get("annotations") or {}
    spec = item.get("spec") or {}
    return Node(
        name=item["metadata"]["name"],
        address=_internal_ip(item.get("status") or {}),
        pod_cidr=_first_network([*(spec.get("podCIDRs") or ()), spec.get("podCIDR") or ""]),
        public_ip=_address(annotations.get(IP_ANNOTATION, "")),
        vtep_mac=unicast_mac(annotations.get(MAC_ANNOTATION, "")),
    )


def unicast_mac(text: str) -> str | None:
    """A MAC address in lower case, or None if the text is none, or a group address, or all zero.

    >>> unicast_mac("82:01:C1:8B:78:01"), unicast_mac("01:00:5e:00:00:01")
    ('82:01:c1:8b:78:01', None)
    """
    mac = text.lower()
    if not re.fullmatch(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}", mac) or mac == "00:00:00:00:00:00":
        return None
    return None if int(mac[:2], 16) & 1 else mac


def _internal_ip(status: dict[str, Any]) -> IPv4Address | None:
    candidates = (entry["address"] for entry in status.get("addresses") or () if entry["type"] == "InternalIP")
    return next((address for text in candidates if (address := _address(text))), None)


def _address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None


def _first_network(texts: list[str]) -> IPv4Network | None:
    for text in texts:
        try:
            return IPv4Network(text)
        except ValueError:
            continue
    return None
