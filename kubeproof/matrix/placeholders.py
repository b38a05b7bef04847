"""Addresses that the suite's policies can only know at run time. Pure.

A policy says ``${NAME}`` inside a text, and the text is filled on the parsed data, so that no value can change a
document's structure:

=====================  ==============================================================================================
``${pod:x/a}``         the address of the pod
``${vtep_of:x/a}``     flannel.1's address on the node of the pod
``${subnet_of:x/a}``   the podCIDR of the node of the pod
``${vteps}``           flannel.1's address on each node: the list item that says it is repeated, once for each of them
``${pod_cidr}``        the pod CIDR of the cluster
``${service_cidr}``    the network of the Services' cluster addresses
``${node_network}``    the network the nodes' own addresses are in
``${outside}``         the address of the client outside of the cluster
=====================  ==============================================================================================
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

Values = Mapping[str, str | tuple[str, ...]]
"""What each placeholder stands for: one text, or one for each repetition of the list item that holds it."""

_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Addresses:
    pods: Mapping[str, IPv4Address]
    """By the short name of the pod, ``x/a``."""
    placement: Mapping[str, str]
    """The node of each of these pods."""
    subnets: Mapping[str, IPv4Network]
    """The podCIDR of every node, nodes without pods included: others see it as the first address (Settings.seen_as)."""
    pod_cidr: IPv4Network
    service_cidr: IPv4Network
    node_network: IPv4Network
    outside: IPv4Address

    def values(self) -> dict[str, str | tuple[str, ...]]:
        of_pods = {pod: self.subnets[node] for pod, node in self.placement.items()}
        return {
            **{f"pod:{pod}": str(address) for pod, address in self.pods.items()},
            **{f"vtep_of:{pod}": str(subnet.network_address) for pod, subnet in of_pods.items()},
            **{f"subnet_of:{pod}": str(subnet) for pod, subnet in of_pods.items()},
            "vteps": tuple(str(subnet.network_address) for subnet in self.subnets.values()),
            "pod_cidr": str(self.pod_cidr),
            "service_cidr": str(self.service_cidr),
            "node_network": str(self.node_network),
            "outside": str(self.outside),
        }


def fill(data: object, values: Values) -> object:
    """A copy of the data without placeholders, but for keys of mappings, which are left alone.

    One that stands for several texts has to be inside of a list's item. Raises KeyError for one that is not known.
    """
    if isinstance(data, str):
        return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), data)
    if isinstance(data, Mapping):
        return {key: fill(value, values) for key, value in data.items()}
    if isinstance(data, list):
        return [fill(item, each) for item in data for each in _repetitions(item, values)]
    return data


def _repetitions(item: object, values: Values) -> Iterator[Values]:
    """The values for each copy of a list's item: one copy, unless a placeholder in it stands for several."""
    several = next((name for name in sorted(_direct_names(item)) if not isinstance(values[name], str)), None)
    if several is None:
        yield values
    else:
        yield from ({**values, several: value} for value in values[several])


def _direct_names(data: object) -> set[str]:
    """Names of the placeholders in the data but for those in lists, whose items are repeated in their own place."""
    if isinstance(data, Mapping):
        return {name for value in data.values() for name in _direct_names(value)}
    return set(_PLACEHOLDER.findall(data)) if isinstance(data, str) else set()
