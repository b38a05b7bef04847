"""Services and Endpoints to lines of a hosts file. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

NONE = "None"
"""Cluster IP of a headless Service (core/v1)."""


@dataclass(frozen=True)
class Service:
    """A Service; ``cluster_ips`` are its IPv4 cluster IPs, empty if headless."""

    name: str
    namespace: str
    cluster_ips: tuple[IPv4Address, ...]
    headless: bool


@dataclass(frozen=True)
class Endpoint:
    """A ready address behind a Service; ``hostname`` is "" unless the pod has asked for one."""

    address: IPv4Address
    hostname: str = ""


Endpoints = tuple[Endpoint, ...]


def read_service(item: dict[str, Any]) -> Service:
    spec = item.get("spec") or {}
    written = [*(spec.get("clusterIPs") or ()), spec.get("clusterIP") or ""]
    return Service(
        name=item["metadata"]["name"],
        namespace=item["metadata"]["namespace"],
        cluster_ips=tuple(sorted({address for text in written if (address := _address(text))})),
        headless=NONE in written,
    )


def read_endpoints(item: dict[str, Any]) -> Endpoints:
    """The ready IPv4 addresses of an Endpoints object (core/v1).

    For a Service with publishNotReadyAddresses the API server's controller has put all of them there.
    """
    found = {
        Endpoint(address, entry.get("hostname") or "")
        for subset in item.get("subsets") or ()
        for entry in subset.get("addresses") or ()
        if (address := _address(entry["ip"]))
    }
    return tuple(sorted(found, key=lambda endpoint: (endpoint.address, endpoint.hostname)))


def hosts_file(services: Mapping[str, Service], endpoints: Mapping[str, Endpoints], domain: str) -> str:
    """Text of the hosts file for dnsmasq, sorted, so that equal clusters have equal files.

    The first name of a line is the one that its address is resolved to. The keys of both are ``namespace/name``.
    """
    lines: list[str] = []
    for key, service in sorted(services.items()):
        name = f"{service.name}.{service.namespace}.svc.{domain}"
        lines += (f"{address} {name}" for address in service.cluster_ips)
        if service.headless:
            lines += _headless(name, endpoints.get(key, ()))
    return "".join(f"{line}\n" for line in lines)


def _headless(name: str, endpoints: Endpoints) -> Iterator[str]:
    for endpoint in endpoints:
        # Without a hostname CoreDNS names an endpoint after its address, so that it has a PTR record, too.
        label = endpoint.hostname or str(endpoint.address).replace(".", "-")
        yield f"{endpoint.address} {label}.{name} {name}"


def reverse_zones(network: IPv4Network) -> list[str]:
    """The in-addr.arpa zones that make up a network, each on a byte's boundary (RFC 1035, 3.5).

    >>> reverse_zones(IPv4Network("10.244.0.0/15"))
    ['244.10.in-addr.arpa', '245.10.in-addr.arpa']
    """
    bytes_used = max(1, -(-network.prefixlen // 8))
    parts = network.subnets(new_prefix=8 * bytes_used)
    return [".".join([*reversed(str(part.network_address).split(".")[:bytes_used]), "in-addr.arpa"]) for part in parts]


def _address(text: str) -> IPv4Address | None:
    try:
        return IPv4Address(text)
    except ValueError:
        return None
