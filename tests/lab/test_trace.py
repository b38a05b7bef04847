"""A packet that is sent and watched on the running lab: what was seen is as predicted, and nothing of it stays."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.state.foreign import TRACE_TABLE
from kubeproof.terminal.errors import CommandError
from kubeproof.trace import collecting, confirmed
from kubeproof.trace.confirming import ANSWERED, Confirmation, Status, read
from kubeproof.trace.endpoints import Asked
from kubeproof.trace.marked_packet import MarkedPacket
from kubeproof.trace.model import Direction, Packet
from kubeproof.trace.sightings import ANSWER, REQUEST
from kubeproof.trace.watching import LONGEST_SECONDS, OWN, Sending, Spaces, watch
from kubeproof.trace.world import World, make
from lab.paths import REPOSITORY
from lab.settings import load
from lab.wait import wait_until
from tests.lab import network_state, snapshot
from tests.lab.remote import ssh
from tests.lab.tracing import predicted

PROGRAMS = "nft -i|nft monitor|xtables-monitor|tcpdump -i any"
FOLDERS = "/run/kubeproof_trace.*"
TUNNEL_PORT = 8472
FIRST, *_, LAST = (node.name for node in load().nodes)
WATCHING = (
    f"n=0; until nft list tables | grep -q {TRACE_TABLE}; do n=$((n + 1)); [ $n -lt 600 ] || exit 1; sleep 0.05; done"
)
"""Waits on a node until the packet is watched there: that is a matter of a second."""
NAMESPACES = "for pid in $(pgrep -x pause); do stat -L -c '%i %n' /proc/$pid/ns/net; done"
"""Of pods, by the one process in each that lasts; Kubernetes' image names it so."""
SECONDS = 5
"""What a confirmed trace may take."""


@pytest.fixture(scope="module")
def world(inventory: LoadedInventory) -> World:
    """Read once: these tests change nothing."""
    return make(collecting.collect(inventory))


@dataclass(frozen=True)
class Ends:
    """A pod of the cluster DNS, and one of the demo's web server on another node."""

    client: str
    server: str
    client_node: str
    server_node: str


@pytest.fixture(scope="module")
def ends(world: World) -> Ends:
    pods = [(pod, name) for name, node in world.nodes.items() for pod in node.pods]
    client = next(each for each in pods if each[0].startswith("kube-system/kube-dns"))
    server = next(each for each in pods if each[0].startswith("default/httpd") and each[1] != client[1])
    return Ends(client[0], server[0], client[1], server[1])


@pytest.fixture(scope="module")
def seen(world: World) -> list[network_state.State]:
    """What was last found of the nodes: what one test leaves is what the next begins with."""
    return [remains(world)]


@pytest.fixture
def nothing_stays(world: World, seen: list[network_state.State]) -> Iterator[None]:
    """Rules, tables, programs and temporary folders of all nodes are before and after a test the same."""
    yield
    before = seen[-1]

    def same() -> bool:
        seen.append(remains(world))
        return seen[-1] == before

    with contextlib.suppress(CommandError):
        wait_until(same, seconds=LONGEST_SECONDS + 2, what="nodes as before")
    assert network_state.difference(before, seen[-1]) == []


def remains(world: World) -> network_state.State:
    """By node: rules in all namespaces without counters, programs that watch, and folders that they write to."""
    inodes = {node.name: [space.inode for space in world.nodes[node.name].pods.values()] for node in load().nodes}
    with ThreadPoolExecutor() as pool:
        return dict(zip(inodes, pool.map(_remains, inodes, inodes.values()), strict=True))


def _remains(name: str, inodes: list[str]) -> Counter[str]:
    found = snapshot.take(name, ["nftables"])["nftables"]
    saved = ssh(name, f"iptables-save; ip6tables-save; ls -d {FOLDERS} ~/.* 2>/dev/null; true")
    found += [re.sub(r"\[\d+:\d+\]", "", line) for line in saved.splitlines() if not line.startswith("#")]
    inside = f"{NAMESPACES} | while read -r id path; do "
    inside += 'echo $id; nsenter --net="$path" nft --stateless list ruleset; done'
    wanted = False
    for line in ssh(name, inside).splitlines():
        wanted = line in inodes if line.isdigit() else wanted
        found += [line] if wanted else []
    return Counter(found + ssh(name, f"ps -e -o args= | grep -E '^({PROGRAMS})' || true").splitlines())


@pytest.fixture
def confirm(world: World, inventory: LoadedInventory) -> Callable[[Asked], Confirmation]:
    def run(asked: Asked) -> Confirmation:
        return confirmed.confirm(predicted(world, asked, confirmed.source_port()), world, inventory.ssh)

    return run


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize(
    ("source", "destination", "port", "protocol"),
    [
        ("dns", "kuard", "", "tcp"),
        ("dns", "httpd", "80", "tcp"),
        ("dns", "httpd", "", "icmp"),
        ("httpd", "dns", "53", "udp"),
        ("node", "kuard", "", "tcp"),
        ("outside", f"{FIRST}:33000", "", "tcp"),
        ("outside", f"{LAST}:33000", "", "tcp"),
    ],
)
def test_what_is_seen_is_as_predicted(
    ends: Ends, confirm: Callable[[Asked], Confirmation], source: str, destination: str, port: str, protocol: str
) -> None:
    names = {"dns": ends.client, "httpd": ends.server, "node": FIRST}
    started = time.monotonic()
    found = confirm(Asked(names.get(source, source), names.get(destination, destination), port, protocol))
    assert time.monotonic() - started < SECONDS
    pairs = list(zip(found.walk.hops, found.sights, strict=True))
    assert [pair for pair in pairs if pair[1].status not in (Status.SEEN, Status.UNWATCHED)] == []
    assert {hop.direction for hop, sight in pairs if sight.status is Status.SEEN} == set(Direction)
    assert found.is_answered
    assert found.arrived


@pytest.mark.usefixtures("nothing_stays")
def test_a_closed_port_is_seen_to_refuse(ends: Ends, confirm: Callable[[Asked], Confirmation]) -> None:
    found = confirm(Asked(ends.client, ends.server, "81"))
    assert (found.arrived, found.answer, found.agrees) == (True, "RST", True)


@pytest.mark.usefixtures("nothing_stays")
def test_no_other_packet_is_traced(world: World, inventory: LoadedInventory, ends: Ends) -> None:
    """While others go the same way, from the same pod to the same port."""
    client, server = ends.client, ends.server
    marked = MarkedPacket(
        Packet("tcp", address(world, client), address(world, server), confirmed.source_port(), 80),
        b"\x01\x02\x03\x04",
        4242,
    )
    spaces = (
        Spaces(ends.client_node, {"": OWN, client: inode(world, client)}),
        Spaces(ends.server_node, {"": OWN, server: inode(world, server)}),
    )
    with connections(ends, inode(world, client), marked.packet.destination) as made:
        found = watch([Sending(marked, ends.client_node, client)], spaces, inventory.ssh, (TUNNEL_PORT,))
    assert made, "there were no others"
    assert found.refused == {}
    for raw in found.raw.values():
        for pod, outputs in raw.outputs.items():
            begun = re.findall(rf"inet {TRACE_TABLE}\w+ ({REQUEST}|{ANSWER})\w+ packet:.*", outputs["trace"])
            # In a node's own namespace it is traced anew when it is wrapped, or unwrapped.
            assert sorted(begun) == sorted([REQUEST, ANSWER] * (1 if pod else 2))
    seen = read(found.raw, marked, (), (TUNNEL_PORT,))
    both = {marked.packet, marked.packet.reply}
    assert {one.packet for here in seen.values() for one in here.interfaces} == both
    assert {one.packet for here in seen.values() for one in here.chains if not one.is_tunnel} == both


def address(world: World, pod: str) -> IPv4Address:
    found = next(each.ip for each in world.objects.pods if each.full_name == pod)
    assert found is not None
    return found


def inode(world: World, pod: str) -> str:
    return next(node.pods[pod].inode for node in world.nodes.values() if pod in node.pods)


@contextmanager
def connections(ends: Ends, wanted: str, target: IPv4Address) -> Iterator[list[str]]:
    """Connections from a pod to a web server, one after the other, until the block ends; then how they went."""
    made: list[str] = []
    path = ssh(ends.client_node, f"{NAMESPACES} | grep -m 1 '^{wanted} '").split()[1]
    ended = threading.Event()

    def run() -> None:
        get = f"curl --silent --output /dev/null --max-time 2 --write-out '%{{http_code}}\\n' http://{target}/"
        while not ended.is_set():
            made.extend(
                ssh(ends.client_node, f"nsenter --net={path} sh -c 'for n in 1 2 3 4 5; do {get}; done'").split()
            )

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until(lambda: bool(made), seconds=10, what="a first connection")
        yield made
    finally:
        ended.set()
        thread.join()


@pytest.mark.usefixtures("nothing_stays")
def test_two_at_once_keep_to_their_own_packets(ends: Ends) -> None:
    """From one pod to the same Service: they differ by the port that they send from.

    Numbers of processes begin anew, so that those of one are found in the pods before the pods' own by the other.
    """
    for node in (ends.client_node, ends.server_node):
        ssh(node, "echo 100 >/proc/sys/kernel/ns_last_pid")
    words = ("trace", ends.client, "httpd-svc", "--port", "8080", "--json")
    with running(*words, stdout=subprocess.PIPE) as one, running(*words, stdout=subprocess.PIPE) as other:
        found = [json.loads(process.communicate(timeout=60)[0]) for process in (one, other)]
    assert len({each["packet"]["source_port"] for each in found}) == 2
    assert [each["notes"] for each in found] == [[], []]
    for each in found:
        assert (each["seen"]["as_predicted"], each["seen"]["arrived"], each["seen"]["answer"]) == (True, True, ANSWERED)
        assert all(each["packet"]["source_port"] == source_port(line) for line in each["seen"]["conntrack"])


def source_port(entry: str) -> int:
    return int(re.findall(r" sport=(\d+)", entry)[0])


@pytest.mark.usefixtures("nothing_stays")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_of_one_that_is_killed(ends: Ends, number: signal.Signals) -> None:
    node = ends.server_node
    with running("trace", ends.client, ends.server, "--port", "80") as process:
        ssh(node, WATCHING)
        process.send_signal(number)
        process.wait(timeout=10)
        wait_until(lambda: TRACE_TABLE not in ssh(node, "nft list tables"), seconds=2, what="no watch")


@pytest.mark.usefixtures("nothing_stays")
def test_nothing_stays_where_a_host_cannot_clean_up(ends: Ends) -> None:
    """Its script is killed: what it has started ends by its own deadline."""
    node = ends.server_node
    with running("trace", ends.client, ends.server, "--port", "80") as process:
        ssh(node, f"{WATCHING} && kill -KILL $(pgrep -f '[s]h -c SECONDS_LONG=')")
        process.wait(timeout=30)
    wait_until(lambda: TRACE_TABLE not in ssh(node, "nft list tables"), seconds=LONGEST_SECONDS + 1, what="no watch")
    ssh(node, f"rm -rf {FOLDERS}")


@contextmanager
def running(*words: str, stdout: int | None = None) -> "Iterator[subprocess.Popen[bytes]]":
    """./inv itself, without the shell script that starts it."""
    process = subprocess.Popen(
        [sys.executable, "tasks.py", *words],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
