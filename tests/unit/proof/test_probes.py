"""The probe matrix: what is planned, and how each outcome is judged."""

import base64
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from typing import Any

import pytest

from kubeproof.config.cluster import SshAccess
from kubeproof.proof import probes
from kubeproof.proof.capture import judge_capture
from kubeproof.proof.hosts import UnreachableError
from kubeproof.proof.probe import Probe, Verdict, judged, summarize
from kubeproof.proof.probe_run import Batch
from kubeproof.proof.probes import TITLES, Matrix, plan
from kubeproof.rules.api import ApiObjects, Backend, Service, ServicePort
from kubeproof.rules.result import Remedy, Status
from kubeproof.state import collector
from kubeproof.state.collector import Output
from tests.unit.proof import good
from tests.unit.state.frames import echo, pcap, tunnelled


def demo() -> ApiObjects:
    """The good API with the pods of `web` as those of kuard, and the demo's Services."""
    objects = good.api()
    pods = tuple(replace(pod, labels={"app": "kuard"}) if pod.name.startswith("web-") else pod for pod in objects.pods)
    backends = frozenset(Backend(pod.ip, 8080) for pod in pods if pod.labels and pod.ip)
    services = (
        *objects.services,
        Service("default", "kuard", IPv4Address("10.97.0.60"), (ServicePort("", "tcp", 80, None),), False, False),
        Service(
            "default", "httpd-svc", IPv4Address("10.97.0.61"), (ServicePort("", "tcp", 8080, 31000),), False, False
        ),
    )
    return replace(
        objects, pods=pods, services=services, endpoints={**objects.endpoints, ("default", "kuard", ""): backends}
    )


def planned(**changes: Any) -> Matrix:
    return plan(good.snapshot(**({"objects": demo()} | changes)))


def find(name: str, label: str = "", matrix: Matrix | None = None) -> Probe:
    return next(probe for probe in (matrix or planned()).probes if probe.name == name and label in probe.label)


def output(out: str = "", code: int = 0, err: str = "") -> Output:
    return Output(code, out, err)


# What is planned ------------------------------------------------------------------------------------------------------


def test_every_pair_of_pods_is_probed_in_both_directions() -> None:
    labels = {probe.label: probe.name for probe in planned().probes if probe.name.startswith("pod-to-pod")}
    assert labels == {
        "web-b2 to web-b3": "pod-to-pod-same-node",
        "web-b3 to web-b2": "pod-to-pod-same-node",
        "web-b2 to web-c2": "pod-to-pod-other-node",
        "web-b3 to web-c2": "pod-to-pod-other-node",
        "web-c2 to web-b2": "pod-to-pod-other-node",
        "web-c2 to web-b3": "pod-to-pod-other-node",
    }


def test_every_node_probes_every_pod() -> None:
    labels = {probe.label for probe in planned().probes if probe.name == "node-to-pod"}
    assert labels == {f"{node} to {pod}" for node in good.NAMES for pod in ("web-b2", "web-b3", "web-c2")}


def test_every_row_is_probed_somewhere_but_the_one_from_outside() -> None:
    assert {probe.name for probe in planned().probes} == TITLES.keys() - {"node-port"}


def test_commands_run_in_the_pods_own_namespace_or_container() -> None:
    assert find("pod-to-pod-same-node", "web-b2 to").command.startswith("nsenter -t 1002 -n curl ")
    names = find("dns-names", "web-b2")
    assert (names.container, names.command) == ("main-web-b2", "getent ahostsv4 kuard.default.svc.cluster.local")
    assert "--noproxy '*'" in find("node-to-pod").command


def test_a_row_that_cannot_run_on_a_node_says_so() -> None:
    gaps = {(row.name, row.node): (row.status, row.found) for row in planned().not_run}
    assert gaps == {("pod-to-pod-same-node", "node-c"): (Status.NOT_RUN, "only one demo pod runs here")}


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"loaded": good.loaded(demo=False)}, Status.NOT_RUN, "demo = False"),
        (
            {"objects": replace(demo(), policies={"default/access-httpd": "3", "elsewhere/deny": "4"})},
            Status.NOT_RUN,
            "(default/access-httpd); delete them",
        ),
        ({"objects": "connection refused"}, Status.BROKEN, "no API: connection refused"),
        ({"objects": good.api()}, Status.BROKEN, "no pod of the Deployment default/kuard is ready"),
        (
            {"objects": replace(demo(), services=good.api().services)},
            Status.BROKEN,
            "there is no Service default/kuard, default/httpd-svc",
        ),
    ],
)
def test_what_cannot_be_probed_at_all_is_never_passed(changes: dict[str, Any], status: Status, words: str) -> None:
    matrix = planned(**changes)
    assert matrix.probes == ()
    assert {(row.name, row.node) for row in matrix.not_run} == {(name, node) for name in TITLES for node in good.NAMES}
    assert {row.status for row in matrix.not_run} == {status}
    assert all(words in row.found for row in matrix.not_run)


def test_pods_of_a_node_that_cannot_be_reached_are_broken_rows() -> None:
    states = {name: good.state(name) for name in ("node-a", "node-b")}
    matrix = planned(states=states, unreachable={"node-c": "timed out"})
    row = next(row for row in matrix.not_run if (row.name, row.node) == ("pod-to-pod-other-node", "node-c"))
    assert (row.status, row.found) == (Status.BROKEN, "node-c cannot be reached, its demo pods cannot be asked")


def test_all_pods_on_one_node_prove_nothing_between_nodes() -> None:
    objects = demo()
    on_b = replace(objects, pods=tuple(pod for pod in objects.pods if pod.name != "web-c2"))
    rows = {(row.name, row.node): row for row in planned(objects=on_b).not_run}
    row = rows["packet-on-the-wire", "node-b"]
    assert row.status is Status.BROKEN
    assert "all demo pods are on one node" in row.found


# Of some nodes --------------------------------------------------------------------------------------------------------


def limited(*left_out: str, **changes: Any) -> Matrix:
    return planned(left_out=frozenset(left_out), **changes)


def test_a_node_alone_is_probed_as_in_the_whole_proof_and_so_are_the_others_towards_it() -> None:
    whole, part = planned(), limited("node-a", "node-b")
    rows = {(probe.name, probe.label) for probe in part.probes if probe.node == "node-c"}
    assert rows == {(probe.name, probe.label) for probe in whole.probes if probe.node == "node-c"}
    towards = {(probe.node, probe.name, probe.label) for probe in part.probes if probe.node != "node-c"}
    assert ("node-a", "node-to-pod", "node-a to web-c2") in towards
    assert ("node-b", "node-to-pod", "node-b to web-c2") in towards
    assert ("node-b", "pod-to-pod-other-node", "web-b2 to web-c2") in towards
    assert {name for node, name, _ in towards if node == "node-b"} == {
        *("pod-to-pod-other-node", "pod-to-node", "node-to-pod", "large-transfer", "path-mtu", "packet-on-the-wire")
    }
    assert not [label for _, name, label in towards if name.endswith(("to-pod", "-node")) and "to web-b" in label]
    assert [(row.name, row.node) for row in part.not_run] == [("pod-to-pod-same-node", "node-c")]


def test_nothing_is_sent_between_nodes_that_are_left_out() -> None:
    part = limited("node-b", "node-c")
    assert {probe.name for probe in part.probes if probe.node != "node-a"} == {"pod-to-node"}
    assert {probe.name for probe in part.probes if probe.node == "node-a"} == {"node-to-pod"}
    assert part.not_run == ()


def test_a_node_left_out_that_cannot_be_reached_breaks_no_row() -> None:
    states = {name: good.state(name) for name in ("node-a", "node-b")}
    part = limited("node-c", states=states, unreachable={"node-c": "timed out"})
    assert {probe.node for probe in part.probes} == {"node-a", "node-b"}
    assert {row.node for row in part.not_run} <= {"node-a", "node-b"}
    assert all(row.node != "node-c" for row in limited("node-c", objects="connection refused").not_run)


# Policies -------------------------------------------------------------------------------------------------------------


def isolated(*pods: str, **more: Any) -> Matrix:
    by_pod = dict.fromkeys(pods, ("default/access",))
    return planned(objects=replace(with_pages(), policies={"default/access": "3"}, isolated=by_pod), **more)


def with_pages() -> ApiObjects:
    """The demo with a pod of httpd on node-c."""
    objects = demo()
    page = replace(objects.pods[-1], name="httpd-1", uid="h", node="node-c", ip=IPv4Address("10.98.2.9"))
    page = replace(page, labels={"name": "networkpolicy-demo"}, namespace="default", host_network=False)
    return replace(objects, pods=(*objects.pods, page))


def hidden_rows(matrix: Matrix) -> set[str]:
    return {row.name for row in matrix.not_run if "default/access" in row.found}


def test_where_no_policy_is_enforced_none_hides_a_row() -> None:
    """flannel accepts NetworkPolicies and enforces none, as podnet does with network_policy = False."""
    for changes in ({"cni": "flannel"}, {"network_policy": False}):
        loaded = good.loaded(**changes)
        assert hidden_rows(isolated("default/web-b2", "default/web-c2", "default/httpd-1", loaded=loaded)) == set()


def test_a_policy_hides_only_rows_about_pods_that_it_isolates() -> None:
    assert hidden_rows(isolated()) == set()
    assert hidden_rows(isolated("default/somebody-elses")) == set()
    assert hidden_rows(isolated("default/httpd-1")) == {"node-port", "service-by-name"}
    some = isolated("default/web-b2")
    assert hidden_rows(some) == {"service-by-address", "service-by-name", "pod-to-pod-same-node"}
    assert not [probe for probe in some.probes if "web-b2" in probe.label]
    assert find("node-to-pod", "node-a to web-b3", some)


def test_with_all_demo_pods_isolated_no_row_is_passed_in_silence() -> None:
    matrix = isolated("default/web-b2", "default/web-b3", "default/web-c2")
    assert matrix.probes == ()
    rows = {(row.name, row.node) for row in matrix.not_run}
    assert rows == {(name, node) for name in TITLES if name != "node-port" for node in good.NAMES}
    assert {row.status for row in matrix.not_run} == {Status.NOT_RUN}


# How it is judged -----------------------------------------------------------------------------------------------------


def answer(body: str, *, status: int = 200, local: str = "10.98.1.2", port: int = 40000) -> Output:
    return output(f"{body}\n@@ {status} {local} {port}\n")


def whoami(pod: str, ip: str, client: str, *, port: int = 40000, node: str = "node-c", **more: Any) -> Output:
    text = json.dumps({"pod": pod, "node": node, "pod_ip": ip, "client": client, "client_port": port})
    return answer(text, **more)


DIRECT = [
    (whoami("web-c2", "10.98.2.2", "10.98.1.2"), Status.HOLDS, "saw 10.98.1.2 port 40000"),
    (whoami("web-c2", "10.98.2.2", "10.98.1.0"), Status.FAILS, "saw 10.98.1.0"),
    (whoami("web-c2", "10.98.2.2", "10.98.1.2", port=51234), Status.FAILS, "port 51234"),
    (whoami("web-c9", "10.98.2.2", "10.98.1.2"), Status.FAILS, "web-c9"),
    (whoami("web-c2", "10.98.2.9", "10.98.1.2"), Status.FAILS, "10.98.2.9"),
    (whoami("web-c2", "10.98.2.2", "10.98.1.2", node="node-b"), Status.FAILS, "web-c2"),
    (answer("gone", status=404), Status.FAILS, "HTTP status 404"),
    (answer("<html>"), Status.BROKEN, "/whoami did not answer as it should"),
    (answer('{"pod": 1}'), Status.BROKEN, "/whoami did not answer as it should"),
    (output("", 28, "curl: (28) Connection timed out"), Status.FAILS, "no answer within 4 s"),
    (output("", 7, "curl: (7) Failed to connect"), Status.FAILS, "cannot connect"),
    (output("", 2, "curl: option --nonsense: is unknown"), Status.BROKEN, "curl: exit code 2"),
    (output("", 1, "nsenter: cannot open /proc/1002/ns/net"), Status.BROKEN, "nsenter: cannot open"),
    (output("", 127, "sh: 1: curl: not found"), Status.BROKEN, "curl: not found"),
    (output("", 124, ""), Status.BROKEN, "did not end in time"),
    (output("garbage"), Status.BROKEN, "cannot be read"),
]


def assert_judged(probe: Probe, got: Output, status: Status, words: str) -> None:
    verdict = judged(probe, got)
    assert (verdict.status, words in verdict.found) == (status, True), verdict


@pytest.mark.parametrize(("got", "status", "words"), DIRECT)
def test_pod_to_pod(got: Output, status: Status, words: str) -> None:
    assert_judged(find("pod-to-pod-other-node", "web-b2 to web-c2"), got, status, words)


@pytest.mark.parametrize(
    ("label", "pod", "ip", "node", "source"),
    [
        ("node-b to web-b2", "web-b2", "10.98.1.2", "node-b", "10.98.1.1"),
        ("node-b to web-c2", "web-c2", "10.98.2.2", "node-c", "10.98.1.0"),
        ("node-a to web-c2", "web-c2", "10.98.2.2", "node-c", "10.98.0.0"),
    ],
)
def test_node_to_pod(label: str, pod: str, ip: str, node: str, source: str) -> None:
    """The route's device gives a node's source address: cni0 for its own pods, flannel.1 for the others."""
    probe = find("node-to-pod", label)
    assert_judged(probe, whoami(pod, ip, source, node=node, local=source), Status.HOLDS, source)
    assert_judged(probe, whoami(pod, ip, "10.99.0.12", node=node, local="10.99.0.12"), Status.FAILS, "10.99.0.12")


@pytest.mark.parametrize(
    ("pod", "ip", "client", "status"),
    [
        ("web-c2", "10.98.2.2", "10.98.1.2", Status.HOLDS),
        ("web-c2", "10.98.2.2", "10.98.1.1", Status.FAILS),
        ("web-b2", "10.98.1.2", "10.98.1.1", Status.HOLDS),
        ("web-b2", "10.98.1.2", "10.98.1.2", Status.FAILS),
        ("stranger", "10.98.2.2", "10.98.1.2", Status.FAILS),
    ],
)
@pytest.mark.parametrize("name", ["service-by-address", "service-by-name"])
def test_services_mind_that_a_pod_may_reach_itself(name: str, pod: str, ip: str, client: str, status: Status) -> None:
    assert_judged(find(name, "web-b2"), whoami(pod, ip, client), status, pod)


@pytest.mark.parametrize(
    ("name", "label", "got", "status", "words"),
    [
        ("pod-to-node", "web-b2 to node-c", output(), Status.HOLDS, "an echo reply"),
        ("pod-to-node", "web-b2 to node-c", output(code=1), Status.FAILS, "no echo reply"),
        ("pod-to-node", "web-b2 to node-c", output(code=2, err="ping: socket"), Status.BROKEN, "ping: socket"),
        (
            "pod-to-node",
            "web-b2 to node-c",
            output(code=2, err="ping: connect: Network is unreachable"),
            Status.FAILS,
            "cannot be sent (ping: connect: Network is unreachable)",
        ),
        (
            "pod-to-node",
            "web-b2 to node-c",
            output(code=2, err="ping: sendmsg: Operation not permitted"),
            Status.FAILS,
            "cannot be sent",
        ),
        ("dns-names", "httpd-svc", output(code=124), Status.FAILS, "no answer of the cluster DNS within 5 s"),
        ("dns-names", "httpd-svc", output(code=143), Status.FAILS, "no answer of the cluster DNS within 5 s"),
        ("dns-reverse", "", output(code=124), Status.FAILS, "no answer of the cluster DNS within 5 s"),
        ("service-by-name", "to httpd-svc", output(code=124), Status.FAILS, "no answer of the cluster DNS"),
        ("service-by-address", "", output(code=124), Status.BROKEN, "did not end in time"),
        ("dns-names", "httpd-svc", output("10.97.0.61 STREAM x\n10.97.0.61 DGRAM\n"), Status.HOLDS, "10.97.0.61"),
        ("dns-names", "httpd-svc", output("10.97.0.99 STREAM x\n"), Status.FAILS, "10.97.0.99"),
        ("dns-names", "httpd-svc", output("10.97.0.61 A\n10.97.0.99 A\n"), Status.FAILS, "10.97.0.61, 10.97.0.99"),
        ("dns-names", "httpd-svc", output(code=2), Status.FAILS, "cannot be resolved"),
        ("dns-names", "httpd-svc", output(code=3), Status.BROKEN, "exit code 3"),
        ("dns-reverse", "", output("10.97.0.60  kuard.default.svc.cluster.local\n"), Status.HOLDS, "kuard"),
        ("dns-reverse", "", output("10.97.0.60  other.default.svc.cluster.local\n"), Status.FAILS, "other"),
        ("dns-reverse", "", output(code=2), Status.FAILS, "no name"),
        ("dns-reverse", "", output("one\n"), Status.BROKEN, "exit code 0"),
        ("service-by-name", "to httpd-svc", answer("<h1>It works"), Status.HOLDS, "HTTP status 200"),
        ("service-by-name", "to httpd-svc", answer("no", status=503), Status.FAILS, "HTTP status 503"),
        ("service-by-name", "to httpd-svc", answer(" "), Status.FAILS, "1 characters"),
        ("service-by-name", "to httpd-svc", output(code=6), Status.FAILS, "cannot be resolved"),
    ],
)
def test_other_rows(name: str, label: str, got: Output, status: Status, words: str) -> None:
    assert_judged(find(name, label), got, status, words)


OWN = f"size {probes.LARGE_BYTES}\n{'a' * 64}  -\n"


@pytest.mark.parametrize(
    ("got", "status", "words"),
    [
        (output(f"{OWN}remote\n{OWN}"), Status.HOLDS, "8388608 bytes, the same"),
        (output(f"{OWN}remote\n{OWN.replace('aaaa', 'bbbb')}"), Status.FAILS, "others than the client has"),
        (output(f"{OWN}remote\nsize 4711\n{'a' * 64}  -\n"), Status.FAILS, "4711 bytes"),
        (output(f"{OWN}remote\n", 28, "curl: (28) timed out"), Status.FAILS, "curl: (28) timed out"),
        (output("", 22, "curl: (22) 404"), Status.BROKEN, "over loopback"),
        (output("size 0\nx\nremote\nsize 0\n"), Status.BROKEN, "cannot be read"),
    ],
)
def test_large_transfer(got: Output, status: Status, words: str) -> None:
    assert_judged(find("large-transfer"), got, status, words)


TOO_LONG = "ping: local error: message too long, mtu=1450\ncode 1\n"


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (f"1 received\ncode 0\n{TOO_LONG}", Status.HOLDS, "1451 bytes are refused as too long"),
        (f"0 received\ncode 1\n{TOO_LONG}", Status.FAILS, "1450 bytes are lost"),
        (f"{TOO_LONG}{TOO_LONG}", Status.FAILS, "1450 bytes are refused"),
        ("1 received\ncode 0\n1 received\ncode 0\n", Status.FAILS, "1451 bytes pass too"),
        ("1 received\ncode 0\n0 received\ncode 1\n", Status.FAILS, "1451 bytes are lost without a word"),
        ("nsenter: no\ncode 127\nnsenter: no\ncode 127\n", Status.BROKEN, "exit codes [127, 127]"),
        ("", Status.BROKEN, "exit codes []"),
    ],
)
def test_path_mtu(text: str, status: Status, words: str) -> None:
    assert_judged(find("path-mtu"), output(text), status, words)


# As seen on a kernel 6.1 after a router's link was lowered to 1350 and set back.
KEPT = "10.98.2.2 via 10.98.1.1 dev eth0 src 10.98.1.2 uid 0 \n    cache expires 597sec mtu 1350 \ncode 0\n"
FRESH = "10.98.2.2 via 10.98.1.1 dev eth0 src 10.98.1.2 uid 0 \n    cache \ncode 0\n"
NEEDED = "From 10.98.1.1 icmp_seq=1 Frag needed and DF set (mtu = 1350)\ncode 1\n"
PASSED = "1 received\ncode 0\n"


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        (
            f"{TOO_LONG}{TOO_LONG}{KEPT}",
            Status.FAILS,
            "refused as too long by a path MTU of 1350 that the pod's kernel",
        ),
        (f"{TOO_LONG}{TOO_LONG}{KEPT}", Status.FAILS, "for 597 s more, 1451 bytes"),
        (f"{TOO_LONG}{TOO_LONG}{FRESH}", Status.FAILS, "1450 bytes are refused as too long, 1451 bytes are refused"),
        (f"{NEEDED}{TOO_LONG}{FRESH}", Status.FAILS, "1450 bytes are refused as too long, 1451"),
        (f"{PASSED}{TOO_LONG}{FRESH}", Status.HOLDS, "1450 bytes pass, 1451 bytes are refused"),
        (f"{PASSED}{TOO_LONG}RTNETLINK answers: x\ncode 2\n", Status.HOLDS, "1450 bytes pass, 1451"),
    ],
)
def test_a_path_mtu_that_is_only_remembered_is_told_as_what_it_is(text: str, status: Status, words: str) -> None:
    assert_judged(find("path-mtu"), output(text), status, words)


def test_a_path_mtu_that_is_only_remembered_can_be_forgotten() -> None:
    probe = find("path-mtu")
    verdicts = [(probe, judged(probe, output(f"{TOO_LONG}{TOO_LONG}{route}"))) for route in (KEPT, KEPT, FRESH)]
    (row,) = summarize(verdicts, lambda node, _: node)
    assert row.remedies == (Remedy(probe.node, "nsenter -t 1002 -n ip route flush cache"),)


def test_path_mtu_sends_the_overlays_mtu() -> None:
    command = find("path-mtu").command
    assert "-M do -s 1422 10.98.2.2" in command
    assert "-M do -s 1423 10.98.2.2" in command


NONCE = b"n0ncen0n"
NODES = ("10.99.0.12", "10.99.0.13")
PODS = ("10.98.1.2", "10.98.2.2")
REQUEST = tunnelled(NODES, PODS, echo(8, NONCE))
REPLY = tunnelled(NODES[::-1], PODS[::-1], echo(0, NONCE))
OTHERS = tunnelled(NODES, PODS, echo(8, b"another"))


def captured(*frames: bytes, ping: int = 0) -> Output:
    return output(f"ping {ping}\n{base64.encodebytes(pcap(*frames)).decode()}")


@pytest.mark.parametrize(
    ("got", "status", "words"),
    [
        (captured(OTHERS, REQUEST, REPLY), Status.HOLDS, "10.99.0.12 > 10.99.0.13 UDP 8472 VNI 1"),
        (captured(REQUEST, ping=1), Status.FAILS, "echo request"),
        (captured(REQUEST, tunnelled(NODES, ("10.98.1.0", PODS[1]), echo(8, NONCE)), REPLY), Status.FAILS, "10.98.1.0"),
        (captured(tunnelled(NODES, PODS, echo(8, NONCE), vni=2), REPLY), Status.FAILS, "VNI 2"),
        (captured(tunnelled(NODES, PODS, echo(8, NONCE), port=4789), REPLY), Status.FAILS, "UDP 4789"),
        (captured(tunnelled(("10.99.0.99", NODES[1]), PODS, echo(8, NONCE)), REPLY), Status.FAILS, "10.99.0.99"),
        (captured(OTHERS), Status.FAILS, "no such packet between the nodes (ping ended with 0)"),
        (captured(ping=1), Status.FAILS, "no such packet between the nodes (ping ended with 1)"),
        (output("ping 0\nAAAA\n"), Status.BROKEN, "pcap: file header"),
        (output("ping 0\n!\n"), Status.BROKEN, "cannot be read"),
        (output("", 98, "tcpdump: eth9: No such device"), Status.BROKEN, "No such device"),
        (output("", 127, "tcpdump: not found"), Status.BROKEN, "tcpdump: not found"),
    ],
)
def test_the_packet_on_the_wire(got: Output, status: Status, words: str) -> None:
    judge: Callable[[Output], str] = judge_capture(
        nonce=NONCE,
        nodes=(IPv4Address(NODES[0]), IPv4Address(NODES[1])),
        pods=(IPv4Address(PODS[0]), IPv4Address(PODS[1])),
        port=8472,
        vni=1,
    )
    assert_judged(replace(find("packet-on-the-wire"), judge=judge), got, status, words)


def test_the_capture_is_on_the_interface_with_the_nodes_address() -> None:
    probe = find("packet-on-the-wire", "web-b2 to web-c2")
    assert "tcpdump -i eth9 " in probe.command
    assert "udp dst port 8472 and host 10.99.0.12 and host 10.99.0.13" in probe.command
    assert probe.expected.startswith("10.99.0.12 > 10.99.0.13 UDP 8472 VNI 1 around 10.98.1.2 > 10.98.2.2")


# Summing up -----------------------------------------------------------------------------------------------------------


HOLDS, FAILS, BROKEN = (partial(Verdict, status) for status in (Status.HOLDS, Status.FAILS, Status.BROKEN))


def probe(label: str, node: str = "node-b", container: str | None = None) -> Probe:
    return Probe("pod-to-node", node, label, f"echo {label}", f"{label} comes", lambda got: got.out, container)


@pytest.mark.parametrize(
    ("verdicts", "status", "found"),
    [
        ([HOLDS("a"), HOLDS("b")], Status.HOLDS, "0: a\n1: b"),
        ([HOLDS("a"), BROKEN("b")], Status.BROKEN, "1: b"),
        ([BROKEN("a"), FAILS("b"), HOLDS("c")], Status.FAILS, "0: a\n1: b"),
    ],
)
def test_the_worst_outcome_counts(verdicts: list[Verdict], status: Status, found: str) -> None:
    outcomes = [(probe(str(number)), verdict) for number, verdict in enumerate(verdicts)]
    (result,) = summarize(outcomes, lambda node, text: SshAccess(node).line(text))
    assert (result.status, result.found, result.node, result.name) == (status, found, "node-b", "pod-to-node")
    assert result.look_further.startswith("ssh -o BatchMode=yes node-b 'echo ")


def test_each_node_has_a_result_of_its_own() -> None:
    outcomes = [(probe("x", node), HOLDS("y")) for node in ("node-b", "node-c", "node-b")]
    assert [result.node for result in summarize(outcomes, "{} {}".format)] == ["node-b", "node-c"]


def batch_output(batch: Batch, container: str, lines: dict[str, Output]) -> Output:
    text = "".join(
        f"\n@@{batch.marker} out {name}\n{got.out}\n@@{batch.marker} err {name}\n\n"
        f"@@{batch.marker} rc {name} {got.code}\n"
        for name, got in lines.items()
    )
    return output(f"{text}\n@@{batch.marker} end\n")


def test_probes_inside_one_container_are_one_command() -> None:
    batch = Batch([probe("outside"), probe("first", container="c1"), probe("second", container="c1")])
    assert set(batch.commands) == {"0", "c1"}
    assert batch.commands["c1"].startswith("docker exec c1 sh -c ")
    lines = {"1": output("one"), "2": output("sh: getent: not found", 127)}
    answers = {"0": output("zero"), "c1": batch_output(batch, "c1", lines)}
    verdicts = {item.label: verdict for item, verdict in batch.verdicts(answers)}
    assert verdicts["outside"] == HOLDS("zero")
    assert verdicts["first"] == HOLDS("one")
    assert verdicts["second"].status is Status.BROKEN


def test_a_container_that_cannot_be_entered_breaks_its_probes() -> None:
    batch = Batch([probe("first", container="c1")])
    ((_, verdict),) = batch.verdicts({"c1": output("", 126, "OCI runtime exec failed")})
    assert verdict == BROKEN("docker exec: exit code 126: OCI runtime exec failed")


def test_a_node_that_cannot_be_asked_breaks_its_probes() -> None:
    batch = Batch([probe("first"), probe("second", container="c1")])
    verdicts = [verdict for _, verdict in batch.verdicts(UnreachableError("timed out"))]
    assert verdicts == [BROKEN("node-b cannot be reached: timed out")] * 2


def test_the_scripts_of_all_probes_are_shell_that_a_shell_takes() -> None:
    for item in planned().probes:
        subprocess.run(["sh", "-n", "-c", item.command], check=True)
    for node in good.NAMES:
        batch = Batch([item for item in planned().probes if item.node == node])
        text = collector.build(batch.commands, marker="x", timeout=1)
        subprocess.run(["sh", "-n", "-c", text], check=True)
