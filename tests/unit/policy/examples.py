"""Three namespaces with three pods each, on three nodes; policies as the YAML that people write."""

from ipaddress import IPv4Address

import yaml

from kubeproof.policy.engine import Decision, End, NodeEnd, OutsideEnd, PodEnd, judge
from kubeproof.policy.model import ContainerPort, Judged, Namespace, Pod, Policy, World
from kubeproof.policy.reading import read_documents

NODES = ("n1", "n2", "n3")
NAMESPACES = tuple(Namespace(name, {"ns": name, **({"team": "blue"} if name != "z" else {})}) for name in "xyz")


def pod(namespace: str, name: str, number: int) -> Pod:
    """Pod a runs on n1, b on n2, c on n3. Port web is TCP 80 (81 in c) and dns is UDP 53."""
    web = ContainerPort("web", "TCP", 81 if name == "c" else 80)
    labels = {"pod": name, **({"role": "front"} if name == "a" else {})}
    address = IPv4Address(f"10.244.{number % 3 + 1}.{number + 10}")
    return Pod(namespace, name, labels, address, NODES[number % 3], ports=(web, ContainerPort("dns", "UDP", 53)))


PODS = tuple(pod(namespace, name, 3 * i + j) for i, namespace in enumerate("xyz") for j, name in enumerate("abc"))


def policies(text: str) -> tuple[Policy, ...]:
    """Policies from specs in YAML, `ns/name: {spec}`."""
    documents = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": dict(zip(("namespace", "name"), full_name.split("/"), strict=True)),
            "spec": spec,
        }
        for full_name, spec in yaml.safe_load(text).items()
    ]
    return read_documents(documents, "example", policies_only=True).policies


def world(text: str = "", *more: Pod) -> World:
    return World.of(NAMESPACES, (*PODS, *more), policies(text) if text else ())


def end(written: str) -> End:
    """``x/a`` a pod, ``n1`` a node seen at its flannel.1 address, or an outside address."""
    if written in NODES:
        return NodeEnd(written, IPv4Address(f"10.244.{NODES.index(written) + 1}.0"))
    found = {pod.full_name: pod for pod in PODS}.get(written)
    return PodEnd(found) if found else OutsideEnd(IPv4Address(written))


def ask(known: World, source: str, destination: str, protocol: Judged = "TCP", port: int = 80) -> Decision:
    return judge(known, end(source), end(destination), protocol, port)


def allowed(known: World, source: str, destination: str, protocol: Judged = "TCP", port: int = 80) -> bool:
    return ask(known, source, destination, protocol, port).allowed


def reaching(known: World, destination: str, protocol: Judged = "TCP", port: int = 80) -> set[str]:
    """Pods that reach a pod, itself left out."""
    sources = (pod.full_name for pod in PODS if pod.full_name != destination)
    return {source for source in sources if allowed(known, source, destination, protocol, port)}


def reached(known: World, source: str, protocol: Judged = "TCP", port: int = 80) -> set[str]:
    """Pods that a pod reaches, itself left out."""
    destinations = (pod.full_name for pod in PODS if pod.full_name != source)
    return {destination for destination in destinations if allowed(known, source, destination, protocol, port)}


OTHERS = {pod.full_name for pod in PODS}
