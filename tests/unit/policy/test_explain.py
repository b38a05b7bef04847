"""`./inv explain`: names, addresses and ports as people write them, of files and of a cluster."""

import json
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kubeproof.access import remote_kubectl
from kubeproof.config.cluster import Cluster, LoadedInventory, Node, SshAccess
from kubeproof.config.settings import parse
from kubeproof.policy import explain
from kubeproof.policy.explain import Question
from kubeproof.policy.reading import Objects, read_documents
from kubeproof.terminal.errors import UserError
from tests.unit.samples import SETTINGS


def named(kind: str, name: str, namespace: str = "", **parts: object) -> dict[str, object]:
    version = "networking.k8s.io/v1" if kind == "NetworkPolicy" else "v1"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}


def pod(namespace: str, name: str, address: str, node: str = "n1", **spec: object) -> dict[str, object]:
    return named("Pod", name, namespace, spec={"nodeName": node, **spec}, status={"podIP": address, "phase": "Running"})


def node(name: str, number: int) -> dict[str, object]:
    addresses = [{"type": "InternalIP", "address": f"192.168.200.{10 + number}"}]
    return named("Node", name, spec={"podCIDR": f"10.244.{number}.0/24"}, status={"addresses": addresses})


WEB = [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]
ITEMS = [
    node("n1", 1),
    node("n2", 2),
    named("Namespace", "a"),
    named("Namespace", "b"),
    named("Namespace", "default"),
    pod("a", "client", "10.244.2.5", "n2"),
    pod("a", "host", "192.168.200.12", "n2", hostNetwork=True),
    pod("b", "web", "10.244.1.5", containers=WEB),
    pod("default", "lonely", "10.244.1.6"),
    named("Pod", "done", "a", status={"podIP": "10.244.1.5", "phase": "Failed"}),
    named("Pod", "new", "a", status={"phase": "Pending"}),
]
INGRESS = [{"from": [{"ipBlock": {"cidr": "10.244.2.0/32"}}], "ports": [{"port": "http"}]}]
POLICY = named("NetworkPolicy", "nodes", "b", spec={"podSelector": {}, "ingress": INGRESS})
OBJECTS = read_documents([*ITEMS, POLICY], "test")


def ask(
    source: str, destination: str, port: str = "8080", protocol: str = "TCP", objects: Objects = OBJECTS
) -> list[str]:
    """The answer's lines; its code agrees with its first words."""
    answer = explain.explain(objects, Question(source, destination, port, protocol))
    assert answer.code == {"allowed": 0, "denied": 1, "not known": 2}[answer.lines[0].partition(":")[0]]
    return list(answer.lines)


def test_denied_with_both_directions_and_why() -> None:
    assert ask("a/client", "b/web") == [
        "denied: a/client to b/web, TCP 8080",
        "  . egress of a/client: no policy isolates it",
        "  X ingress of b/web: isolated by b/nodes",
        "      no rule allows TCP 8080 from a/client",
        "      b/nodes ingress[0]: a/client is not ipBlock 10.244.2.0/32",
    ]


def test_a_node_is_seen_at_the_first_address_of_its_pod_network() -> None:
    lines = ask("n2", "b/web", "http")
    assert lines[0] == "allowed: node n2 (10.244.2.0) to b/web, TCP 8080"
    assert lines[-1] == "      allowed by b/nodes ingress[0] (from[0] ipBlock 10.244.2.0/32, ports[0] TCP http)"


@pytest.mark.parametrize("source", ["192.168.200.12", "10.244.2.0", "10.244.2.1", "a/host", "n2"])
def test_a_node_by_any_of_its_names(source: str) -> None:
    assert ask(source, "b/web")[0] == "allowed: node n2 (10.244.2.0) to b/web, TCP 8080"


def test_a_node_reaches_its_own_pods() -> None:
    lines = ask("n1", "b/web", protocol="ICMP", port="")
    assert lines[0].startswith("allowed: node n1 (192.168.200.11) to b/web, ICMP")
    assert "a node always reaches the pods that run on it" in lines[1]


def test_a_pods_address_is_that_pod_though_one_that_ended_had_it() -> None:
    assert ask("10.244.2.5", "10.244.1.5")[0] == "denied: a/client to b/web, TCP 8080"


def test_a_bare_name_is_a_pod_of_the_default_namespace() -> None:
    assert ask("lonely", "a/client", "80")[0] == "allowed: default/lonely to a/client, TCP 80"


def test_a_node_as_a_destination_has_the_address_that_was_asked_for() -> None:
    assert ask("b/web", "n2", "22")[0] == "allowed: b/web to node n2 (192.168.200.12), TCP 22"
    assert ask("b/web", "10.244.2.1", "22")[0] == "allowed: b/web to node n2 (10.244.2.1), TCP 22"


def test_an_outside_address_is_said_to_be_taken_as_such() -> None:
    lines = ask("1.2.3.4", "b/web", protocol="icmp", port="")
    assert lines[0] == "denied: 1.2.3.4 to b/web, ICMP"
    assert "note: 1.2.3.4 is no pod's and no node's, so outside; of a Service write a pod behind it" in lines


def test_a_node_whose_pod_network_is_not_known_is_noted() -> None:
    objects = read_documents(
        [pod("b", "web", "10.244.1.5"), pod("a", "host", "192.168.200.12", "n2", hostNetwork=True)], "t"
    )
    lines = ask("a/host", "b/web", objects=objects)
    assert lines[0] == "allowed: node n2 (192.168.200.12) to b/web, TCP 8080"
    assert lines[-1].startswith("note: node n2: its podCIDR is not known")


def test_a_namespace_without_object_is_noted_where_it_matters() -> None:
    spec = {"ingress": [{"from": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]}]}
    items = [pod("a", "x", "10.244.1.5"), pod("b", "y", "10.244.1.6"), named("NetworkPolicy", "p", "b", spec=spec)]
    lines = ask("a/x", "b/y", objects=read_documents(items, "t"))
    assert lines[0] == "not known: a/x to b/y, TCP 8080; NetworkPolicies that are known deny it"
    assert "note: namespace a: its object is missing, so it is taken to have no labels but its name's" in lines


def problems(source: str, destination: str, port: str = "8080", objects: Objects = OBJECTS) -> list[str]:
    with pytest.raises(UserError) as raised:
        explain.explain(objects, Question(source, destination, port, "TCP"))
    return list(raised.value.problems)


@pytest.mark.parametrize(
    ("source", "line"),
    [
        ("a/clent", "--from: there is no pod a/clent; did you mean a/client?"),
        ("aa/client", "--from: there is no namespace aa; did you mean a?"),
        ("zzz/client", "--from: there is no namespace zzz; there are a, b, default"),
        ("lonly", "--from: there is no pod default/lonly and no node lonly; did you mean default/lonely?"),
        ("n10", "--from: there is no pod default/n10 and no node n10; did you mean n1?"),
        ("clent", "--from: there is no pod default/clent and no node clent; did you mean a/client?"),
        (
            "a/",
            "--from: there is no pod a/; there are a/client, a/done, a/host, a/new, b/web, default/lonely",
        ),
        ("a/done", "--from: pod a/done has ended; choose one that runs"),
        ("a/new", "--from: pod a/new has no address; wait for it, or add status.podIP to its object"),
    ],
)
def test_what_does_not_exist_is_told_with_what_is_nearest(source: str, line: str) -> None:
    assert problems(source, "b/web") == [line]


@pytest.mark.parametrize(
    ("destination", "port", "line"),
    [
        ("b/web", "htp", "--port: b/web has no TCP port of the name htp; did you mean http?"),
        ("a/client", "http", "--port: a/client has no TCP port of the name http; use a number"),
        (
            "n2",
            "http",
            "--port: http is a name, and node n2 (192.168.200.12) is no pod that could have it; use a number",
        ),
        ("b/web", "0", "--port: 0 is out of range; use 1 to 65535"),
        ("b/web", "65536", "--port: 65536 is out of range; use 1 to 65535"),
        ("b/web", "9" * 5000, f"--port: {'9' * 60}… is out of range; use 1 to 65535"),
        ("b/w\neb", "80", "--to: there is no pod b/w\\neb; did you mean b/web?"),
        ("b/web", "-1", "--port: b/web has no TCP port of the name -1; there are http"),
    ],
)
def test_a_port_that_cannot_be(destination: str, port: str, line: str) -> None:
    assert problems("a/client", destination, port) == [line]


def test_all_options_are_told_together() -> None:
    assert [line.partition(":")[0] for line in problems("x/x", "b/web", "0")] == ["--from", "--port"]
    assert [line.partition(":")[0] for line in problems("x/x", "y/y", "0")] == ["--from", "--to", "--port"]
    assert [line.partition(":")[0] for line in problems("x/x", "y/y", "http")] == ["--from", "--to"]


def test_what_is_missing_and_what_names_nothing_are_told_together() -> None:
    assert problems("", "b/wb", "") == [
        "--from: is missing; write ns/pod, a node's name or an IPv4 address",
        "--port: is missing; write a number, or the name of a container's port",
        "--to: there is no pod b/wb; did you mean b/web?",
    ]
    with pytest.raises(UserError) as raised:
        explain.explain(OBJECTS, Question("a/clent", "b/web", "0", "tpc"))
    assert [line.partition(":")[0] for line in raised.value.problems] == ["--protocol", "--from", "--port"]


def test_an_inventory_that_cannot_be_read_is_told_with_the_options() -> None:
    def load() -> LoadedInventory:
        raise UserError("x.py: no such inventory file")

    with pytest.raises(UserError) as raised:
        explain.run(load, source="a/client", destination="", port="80", protocol="TCP", files=[])
    assert list(raised.value.problems) == [
        "--to: is missing; write ns/pod, a node's name or an IPv4 address",
        "x.py: no such inventory file",
    ]


def test_an_address_of_two_pods_is_ambiguous() -> None:
    twice = read_documents([pod("a", "x", "10.244.1.5"), pod("b", "y", "10.244.1.5")], "test")
    assert problems("10.244.1.5", "b/y", objects=twice) == [
        "--from: 10.244.1.5 is the address of a/x, b/y; write ns/pod"
    ]


def test_without_any_pod_it_is_said_where_pods_come_from() -> None:
    (line, _) = problems("a/x", "b/y", objects=Objects())
    assert line == "--from: no pod is known; give files with Pods by -f, or no file to ask the cluster"


def run(files: Sequence[Path], **changed: str) -> int:
    asked = {"source": "a/client", "destination": "b/web", "port": "8080", "protocol": "TCP", **changed}
    return explain.run(None, files=files, **asked)


def test_of_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    objects, policies = tmp_path / "objects.json", tmp_path / "policies.json"
    objects.write_text(json.dumps({"kind": "List", "apiVersion": "v1", "items": ITEMS}))
    policies.write_text(json.dumps(POLICY))
    assert run([objects]) == 0
    assert run([objects, policies]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "allowed: a/client to b/web, TCP 8080"
    # What is in square brackets is no markup.
    assert out[-1] == "      b/nodes ingress[0]: a/client is not ipBlock 10.244.2.0/32"


def test_bad_options_and_bad_files_are_told_together(tmp_path: Path) -> None:
    with pytest.raises(UserError) as raised:
        run([tmp_path / "none.yaml"], source="", destination=" ", port="", protocol="X")
    assert list(raised.value.problems) == [
        "--from: is missing; write ns/pod, a node's name or an IPv4 address",
        "--to: is missing; write ns/pod, a node's name or an IPv4 address",
        "--protocol: X is not known; use TCP, UDP, SCTP, ICMP",
        "--port: is missing; write a number, or the name of a container's port",
        f"{tmp_path}/none.yaml: there is no such file; correct its name",
    ]


LOADED = LoadedInventory(
    Path("x.py"),
    Cluster(parse(SETTINGS), (Node("control-1", IPv4Address("192.168.200.11"), "control-plane"),)),
    {"control-1": SshAccess("control-1")},
)


def of_cluster() -> int:
    return explain.run(lambda: LOADED, source="a/client", destination="b/web", port="http", protocol="tcp", files=[])


def test_of_a_cluster_by_one_call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[Sequence[str]] = []

    def capture(_: LoadedInventory, words: Sequence[str]) -> str:
        calls.append(words)
        return json.dumps({"kind": "List", "apiVersion": "v1", "items": [*ITEMS, POLICY]})

    monkeypatch.setattr(remote_kubectl, "capture", capture)
    assert of_cluster() == 1
    assert capsys.readouterr().out.startswith("denied: a/client to b/web, TCP 8080\n")
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("echo no route >&2; exit 255", "ssh to control-1: no route; see that the cluster is up, or give files by -f"),
        ("echo refused >&2; exit 1", "kubectl get: refused; see that the cluster is up, or give files by -f"),
        ("echo '{'", "kubectl get: the answer is no JSON"),
    ],
)
def test_a_cluster_that_cannot_be_asked_is_no_denial(
    script: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f"#!/bin/sh\n{script}\n")
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(UserError) as raised:
        of_cluster()
    assert raised.value.problems[0].startswith(line)
