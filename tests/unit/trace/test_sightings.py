"""What nft, xtables-monitor and tcpdump told of a packet on the lab is read as it was."""

import json
from ipaddress import IPv4Address
from itertools import zip_longest

import pytest

from kubeproof.state.errors import ParseError
from kubeproof.trace.model import Direction, Packet, Place
from kubeproof.trace.sightings import Passing, Traversal, passings, traversals
from tests.unit.trace.captured import FOLDER, Captured, captured

THERE = [Place.PREROUTING, Place.FORWARD, Place.POSTROUTING, Place.OUTPUT, Place.POSTROUTING]
BACK = [Place.PREROUTING, Place.INPUT, Place.PREROUTING, Place.FORWARD, Place.POSTROUTING]
"""Hooks of the node of the sender, for a pod of another node: the last two, and the first two, are the tunnel's."""
DNS, SERVICE, MASTER, WORKER = "10.244.0.5", "10.1.58.91", "192.168.200.11", "192.168.200.13"


def tcp(source: str, source_port: int, destination: str, destination_port: int) -> Packet:
    return Packet("tcp", IPv4Address(source), IPv4Address(destination), source_port, destination_port)


def chains(found: Captured, node: str, pod: str) -> tuple[Traversal, ...]:
    outputs = found.raw[node][pod]
    return traversals(outputs["trace"], outputs["xtables"], found.marked.nonce, (8472,))


def interfaces(found: Captured, node: str, pod: str) -> tuple[Passing, ...]:
    outputs = found.raw[node][pod]
    return passings(outputs["capture"], outputs["links"], found.marked)


def hooks(found: tuple[Traversal, ...], direction: Direction) -> list[tuple[Place, Packet]]:
    """Each hook that was passed to its end, with the packet as it was then."""
    return [(one.hook, one.packet) for one in found if one.is_end and one.direction is direction]


def test_destination_nat_is_seen_where_the_request_comes_to_the_node() -> None:
    there = tcp(DNS, 62000, SERVICE, 80)
    found = chains(captured("service"), "k8s-master", "")
    seen = hooks(found, Direction.FORWARD)
    assert [hook for hook, _ in seen] == THERE
    endpoint = seen[0][1]
    assert endpoint == tcp(DNS, 62000, str(endpoint.destination), 8080)
    assert endpoint.destination != there.destination
    assert {packet.destination_port for _, packet in seen[3:]} == {8472}
    assert {one.packet.destination_port for one in found if one.is_tunnel} == {8472}
    decided = [decision for one in found if one.packet == there for decision in one.decisions]
    assert [decision.verdict.partition(" ")[0] for decision in decided] == ["jump", "jump", "jump", "accept"]
    assert decided[-1].rule.endswith(f"-m tcp -j DNAT --to-destination {endpoint.destination}:8080")


def test_the_answer_has_the_service_as_its_source_behind_the_last_hook() -> None:
    seen = hooks(chains(captured("service"), "k8s-master", ""), Direction.REPLY)
    assert [hook for hook, _ in seen] == BACK
    assert seen[-1][1] == tcp(SERVICE, 80, DNS, 62000)


def test_a_chain_of_nftables_is_told_by_the_hook_that_called_it() -> None:
    found = chains(captured("service"), "k8s-master", "")
    own = [one for one in found if any(decision.table == "inet podnet" for decision in one.decisions)]
    assert {one.hook for one in own} == {Place.FORWARD}
    assert str(own[0].decisions[0]) == "policy accept of inet podnet egress"


def test_a_pod_sends_and_receives() -> None:
    found = captured("service")
    assert hooks(chains(found, "k8s-master", "kube-system/dns"), Direction.FORWARD) == [
        (Place.OUTPUT, tcp(DNS, 62000, SERVICE, 80)),
        (Place.POSTROUTING, tcp(DNS, 62000, SERVICE, 80)),
    ]
    seen = interfaces(found, "k8s-master", "kube-system/dns")
    assert [(one.direction, one.device, one.is_outgoing) for one in seen] == [
        (Direction.FORWARD, "eth0", True),
        (Direction.REPLY, "eth0", False),
    ]
    asked = [pod for pod in ("default/kuard-a", "default/kuard-b") if chains(found, "k8s-node2", pod)]
    assert len(asked) == 1


def test_interfaces_show_the_tunnel_around_the_packet() -> None:
    seen = interfaces(captured("service"), "k8s-master", "")
    assert [one.device for one in seen if one.direction is Direction.FORWARD][1:] == ["cni0", "flannel.1", "host0"]
    (there,) = (one for one in seen if one.device == "host0" and one.direction is Direction.FORWARD)
    assert there.is_outgoing
    assert there.packet.source == IPv4Address(DNS)
    assert there.outer is not None
    assert (str(there.outer.source), str(there.outer.destination)) == (MASTER, WORKER)
    assert [one.time for one in seen] == sorted(one.time for one in seen)


def test_an_error_of_icmp_is_an_answer() -> None:
    seen = interfaces(captured("refused"), "k8s-master", "kube-system/dns")
    assert [(one.direction, one.packet.protocol) for one in seen] == [
        (Direction.FORWARD, "udp"),
        (Direction.REPLY, "icmp"),
    ]
    assert (Place.INPUT, seen[1].packet) in hooks(
        chains(captured("refused"), "k8s-master", "kube-system/dns"), Direction.REPLY
    )


NONCE = b"\x01"
FLOW = "ip saddr 10.1.0.2 ip daddr 10.1.0.3 ip ttl 64 tcp sport 1 tcp dport 2 tcp flags == syn"
DROPPED = f"""\
trace id aa inet kubeproof_trace_01 request_01 packet: iif "cni0" {FLOW}
trace id aa inet kubeproof_trace_01 request_01 rule meta nftrace set 1 (verdict continue)
trace id aa inet kubeproof_trace_01 prerouting policy accept
trace id aa inet kubeproof_trace_01 prerouting_end packet: iif "cni0" {FLOW}
trace id aa inet kubeproof_trace_01 prerouting_end policy accept
trace id ab ip filter FORWARD packet: iif "cni0" oif "veth1" {FLOW}
trace id ab ip filter FORWARD rule tcp dport 2 counter packets 5 bytes 60 drop (verdict drop)
"""


def test_a_packet_that_is_dropped_does_not_come_to_the_end_of_the_hook() -> None:
    *_, last = traversals(DROPPED, "", NONCE, ())
    assert (last.hook, last.is_end, last.devices) == (Place.FORWARD, False, ("cni0", "veth1"))
    assert [(one.rule, one.verdict) for one in last.decisions] == [("tcp dport 2 drop", "drop")]


BEGUN = DROPPED.partition("trace id aa inet kubeproof_trace_01 prerouting ")[0]
REJECTED = f"""\
{DROPPED.rpartition("trace id ab")[0]}\
trace id ac inet kubeproof_trace_01 answer_01 packet: oif "cni0" ip saddr 10.1.0.1 ip daddr 10.1.0.2 icmp type 3
trace id ac inet kubeproof_trace_01 answer_01 rule meta nftrace set 1 (verdict continue)
trace id ac inet kubeproof_trace_01 output_end packet: oif "cni0" ip saddr 10.1.0.1 ip daddr 10.1.0.2 icmp type 3
trace id ac inet kubeproof_trace_01 output_end policy accept
trace id ab ip filter FORWARD rule tcp dport 2 counter packets 5 bytes 60 reject (verdict drop)
"""


def test_a_rule_that_answers_is_told_after_its_answer() -> None:
    found = traversals(REJECTED, "", NONCE, ())
    there = [one for one in found if one.direction is Direction.FORWARD]
    assert [str(one) for one in there[-1].decisions] == ["tcp dport 2 reject"]
    assert not there[-1].is_end
    assert [one.is_end for one in found if one.direction is Direction.REPLY] == [False, True]


@pytest.mark.parametrize(("into", "out", "hook"), [("eth0", "", Place.PREROUTING), ("", "eth0", Place.OUTPUT)])
def test_one_that_is_dropped_at_once(into: str, out: str, hook: Place) -> None:
    devices = f'iif "{into}"' if into else f'oif "{out}"'
    line = f"trace id aa inet other chain packet: {devices} ip saddr 10.1.0.2 ip daddr 10.1.0.3 udp sport 1 udp dport 2"
    dropped = f"{line}\ntrace id aa inet other chain rule drop (verdict drop)"
    assert traversals(f"{BEGUN}{dropped}", "", NONCE, ())[-1].hook is hook


def test_other_packets_and_other_traces_are_passed_over() -> None:
    """One that is watched along with it, and one of another trace, whose chains this packet goes through, too."""
    another = DROPPED.replace("sport 1", "sport 3").replace("id a", "id b")
    along, other = another.replace("request_01", "request_02"), another.replace("_01", "_03")
    *_, begin, end, _, _ = DROPPED.splitlines()
    through_both = DROPPED.replace(end, "\n".join((end, begin, end)).replace("_01", "_03").replace("_03", "_01", 1))
    assert through_both.count("_03") == 2
    assert traversals(other + along + through_both + other, "", NONCE, ()) == traversals(DROPPED, "", NONCE, ())
    assert traversals(other + along, "", NONCE, ()) == ()


def test_a_rule_without_text_is_told_by_its_handle() -> None:
    text = DROPPED.replace("rule tcp dport 2 counter packets 5 bytes 60 drop", "unknown rule handle 7")
    assert traversals(text, "", NONCE, ())[-1].decisions[0].rule == "rule with handle 7"


@pytest.mark.parametrize("text", ["", "trace id aa ip6 filter INPUT packet: ip6 saddr ::1", "Terminated"])
def test_what_is_no_trace_tells_nothing(text: str) -> None:
    assert traversals(text, "", NONCE, ()) == ()


def test_what_is_no_capture_is_refused() -> None:
    with pytest.raises(ParseError):
        passings("AAAA", "", captured("service").marked)


def mixed(trace: str, nonce: str, port: int) -> str:
    """The lines of one trace and those of the other by turns, as two processors may tell them."""
    lines = [(line.split()[2], line) for line in trace.splitlines()]
    signs = (f"port {port} ", f"request_{nonce} packet", f"answer_{nonce} packet")
    ids = {name for name, line in lines if any(sign in line for sign in signs)}
    ours, others = ([line for name, line in lines if (name in ids) is own] for own in (True, False))
    assert ours
    assert others
    return "\n".join(line for turn in zip_longest(ours, others) for line in turn if line)


@pytest.mark.parametrize("nonce", ["3be80ee2", "241a7e1f"])
def test_two_traces_at_once_keep_to_their_own_packets(nonce: str) -> None:
    """Both from one pod to the same Service: the programs tell each of the other's packets and tables, too."""
    document = json.loads((FOLDER / "two.json").read_text())
    port = document["packets"][nonce][3]
    found = traversals(document["trace"], "", bytes.fromhex(nonce), (8472,))
    inner = [one for one in found if not one.is_tunnel]
    assert {port} <= {one.packet.source_port for one in inner} | {one.packet.destination_port for one in inner}
    assert all(port in (one.packet.source_port, one.packet.destination_port) for one in inner)
    assert [hook for hook, _ in hooks(found, Direction.FORWARD)] == THERE
    assert [hook for hook, _ in hooks(found, Direction.REPLY)] == BACK
    assert not any("kubeproof_trace" in decision.table for one in found for decision in one.decisions)
    assert traversals(mixed(document["trace"], nonce, port), "", bytes.fromhex(nonce), (8472,)) == found
