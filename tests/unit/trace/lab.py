"""The state of a healthy lab as ./inv collect wrote it, and what tests change in it.

Three nodes with podnet and the demo: kuard and httpd, whose Service httpd-svc has port 8080 and NodePort 33000.
"""

import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kubeproof.state.collector import Output
from kubeproof.trace import collecting
from kubeproof.trace.collecting import Collected
from kubeproof.trace.endpoints import Asked, Question, question
from kubeproof.trace.model import Prediction, Walk
from kubeproof.trace.predicting import predict
from kubeproof.trace.world import make

ARCHIVE = Path(__file__).with_name("healthy.tar.xz")
MASTER, NODE1, NODE2 = "k8s-master", "k8s-node1", "k8s-node2"
KUARD = "default/kuard-5bfbbb9858-l64j4"
"""10.244.1.46, on NODE1."""
HTTPD = "default/httpd-d5d58d4df-h4v8m"
"""10.244.1.47, on NODE1."""
FAR = "default/httpd-d5d58d4df-8qswr"
"""10.244.3.10, on NODE2."""
SERVICE = "10.1.250.37"


@cache
def healthy() -> Collected:
    with TemporaryDirectory() as folder, tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder)  # noqa: S202  # it is the repository's own
        return collecting.read(Path(folder))


def changed(collected: Collected, node: str, name: str, change: Callable[[str], str]) -> Collected:
    """With another text of one command; it is another one, or the test would say nothing."""
    text = collected.outputs[node][name].out
    new = change(text)
    assert new != text
    outputs = {**collected.outputs, node: {**collected.outputs[node], name: Output(0, new, "")}}
    return replace(collected, outputs=outputs)


def without_lines(*parts: str) -> Callable[[str], str]:
    """Lines that have all parts are left out."""
    return lambda text: "\n".join(line for line in text.splitlines() if not all(part in line for part in parts)) + "\n"


def listed(change: Callable[[Any], Any]) -> Callable[[str], str]:
    """A change of each item of a JSON list; those that become None are left out."""
    return lambda text: json.dumps([new for item in json.loads(text) if (new := change(item)) is not None])


def inside(pod_address: str, change: Callable[[dict[str, Any]], object]) -> Callable[[str], str]:
    """A change of what is in the network namespace of the pod with an address."""

    def of(text: str) -> str:
        lines = []
        for line in text.splitlines():
            parts = json.loads(line)
            if pod_address in json.dumps(parts["addresses"]):
                change(parts)
            lines.append(json.dumps(parts))
        return "\n".join(lines)

    return of


def with_objects(collected: Collected, *more: Mapping[str, Any]) -> Collected:
    assert not isinstance(collected.objects, str)
    return replace(collected, objects={**collected.objects, "items": [*collected.objects["items"], *more]})


def sent_from(address: str, *routes: dict[str, str]) -> Collected:
    """The healthy lab, read from a machine with an address and routes."""
    own = {"family": "inet", "local": address, "prefixlen": 24, "scope": "global"}
    outside = {
        "links": "[]",
        "addresses": json.dumps([{"ifname": "br0", "addr_info": [own]}]),
        "routes": json.dumps([{"type": "unicast", "table": "main", **route} for route in routes]),
        "neighbours": "[]",
        "rules": json.dumps([{"priority": 32766, "src": "all", "table": "main"}]),
    }
    return replace(healthy(), outside=outside)


def asked(collected: Collected, source: str, destination: str, port: str = "", protocol: str = "tcp") -> Question:
    return question(make(collected), Asked(source, destination, port, protocol), look_up=lambda _name: None)


def predicted(collected: Collected, source: str, destination: str, port: str = "", protocol: str = "tcp") -> Prediction:
    return predict(make(collected), asked(collected, source, destination, port, protocol))


def way(collected: Collected, source: str, destination: str, port: str = "", protocol: str = "tcp") -> Walk:
    """The only one, or the one that is most probable."""
    return predicted(collected, source, destination, port, protocol).walks[0]


def steps(walk: Walk) -> list[str]:
    """Place and device of each hop, in short."""
    return [
        f"{hop.node.removeprefix('k8s-')}{'*' * bool(hop.pod)} {hop.place.value} {hop.device}".strip()
        for hop in walk.hops
    ]
