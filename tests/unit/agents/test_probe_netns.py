"""Probe server and client against each other, in network namespaces with rules in between."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agents.netns import REPOSITORY, eventually, ip, run

pytestmark = pytest.mark.netns

PREFIX = f"prober-test-{os.getpid()}"
SERVER, CLIENT = f"{PREFIX}-server", f"{PREFIX}-client"
ADDRESS, SECOND, NOBODY = "10.99.1.1", "10.99.1.3", "10.99.1.9"
PROTOCOLS = ("TCP", "UDP", "SCTP")
DNS = """
import socket, struct
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("10.99.1.3", 53))
while True:
    query, client = server.recvfrom(512)
    if query[12:18] == b"\\x05known":
        head = struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0)
        record = b"\\xc0\\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + socket.inet_aton("10.99.1.1")
        server.sendto(query[:2] + head + query[12:] + record, client)
    else:
        server.sendto(query[:2] + struct.pack("!HHHHH", 0x8183, 1, 0, 0, 0) + query[12:], client)
"""


def inside(namespace: str, *words: str, **kwargs: Any) -> "subprocess.Popen[str]":
    environment = {**os.environ, "POD_NAMESPACE": "kubeproof-x", "POD_NAME": "a", "PYTHONDONTWRITEBYTECODE": "1"}
    command = ["ip", "netns", "exec", namespace, *words]
    return subprocess.Popen(command, cwd=REPOSITORY, env=environment, text=True, stdout=subprocess.PIPE, **kwargs)


class Pair:
    """A server with two addresses, and a client that is asked in lines, on one link."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[str]] = []
        for namespace in (SERVER, CLIENT):
            ip("netns", "add", namespace)
            ip("link", "set", "lo", "up", namespace=namespace)
        # The kernel holds back ICMP errors of which one host gets many.
        run("ip", "netns", "exec", SERVER, "sysctl", "-qw", "net.ipv4.icmp_ratelimit=0")
        ip("link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", CLIENT, namespace=SERVER)
        for namespace, addresses in ((SERVER, (ADDRESS, SECOND)), (CLIENT, ("10.99.1.2",))):
            for address in addresses:
                ip("addr", "add", f"{address}/24", "dev", "eth0", namespace=namespace)
            ip("link", "set", "eth0", "up", namespace=namespace)
        server = self._start(SERVER, sys.executable, "-m", "agents.probe", "server")
        assert server.stdout is not None
        assert server.stdout.readline() == "answering on TCP 80, UDP 80, TCP 81, UDP 81, SCTP 80, 81\n"
        self._start(SERVER, sys.executable, "-c", DNS)
        self.client = self._start(CLIENT, sys.executable, "-m", "agents.probe", "client", stdin=subprocess.PIPE)

    def _start(self, *words: str, **kwargs: Any) -> "subprocess.Popen[str]":
        self.processes.append(inside(*words, **kwargs))
        return self.processes[-1]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def rules(self, *rules: str) -> None:
        """iptables rules where the server is, instead of those before."""
        run("ip", "netns", "exec", SERVER, "iptables", "-F", "INPUT")
        for rule in rules:
            run("ip", "netns", "exec", SERVER, "iptables", "-A", "INPUT", *rule.split())

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self.client.stdin is not None
        assert self.client.stdout is not None
        self.client.stdin.write(json.dumps(request) + "\n")
        self.client.stdin.flush()
        answer: dict[str, Any] = json.loads(self.client.stdout.readline())
        return answer

    def probe(self, *targets: tuple[str, str, int], timeout: float = 0.3) -> list[dict[str, Any]]:
        probes = [
            {"id": number, "protocol": protocol, "address": address, "port": port, "timeout": timeout}
            for number, (protocol, address, port) in enumerate(targets)
        ]
        results: list[dict[str, Any]] = self.ask({"do": "probe", "probes": probes})["results"]
        assert [result["id"] for result in results] == list(range(len(targets)))
        return results

    def outcomes(self, *targets: tuple[str, str, int]) -> list[str]:
        return [result["outcome"] for result in self.probe(*targets)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    # `ip netns exec` puts the files in /etc/netns/NAME over those in /etc.
    folder = Path("/etc/netns") / CLIENT
    folder.mkdir(parents=True)
    (folder / "resolv.conf").write_text(f"nameserver {SECOND}\n")
    pair: Pair | None = None
    try:
        pair = Pair()
        yield pair
    finally:
        if pair is not None:
            pair.close()
        for namespace in (SERVER, CLIENT):
            run("ip", "netns", "del", namespace, check=False)
        (folder / "resolv.conf").unlink()
        folder.rmdir()


@pytest.fixture
def pair(built: Pair) -> Iterator[Pair]:
    yield built
    built.rules()


ALL = [(protocol, ADDRESS, port) for protocol in PROTOCOLS for port in (80, 81)]


def test_everything_is_open_and_says_who_answers(pair: Pair) -> None:
    results = pair.probe(*ALL)
    assert [result["outcome"] for result in results] == ["open"] * 6, results
    assert {(result["pod"], result["client"], result["detail"]) for result in results} == {
        ("kubeproof-x/a", "10.99.1.2", "")
    }


def test_hello_tells_that_sctp_can_be_sent(pair: Pair) -> None:
    assert pair.ask({"do": "hello"})["sctp"] == ""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_dropped_is_blocked_and_nothing_else(pair: Pair, protocol: str) -> None:
    pair.rules(f"-p {protocol.lower()} --dport 81 -j DROP")
    expected = ["blocked" if (protocol, 81) == (each, port) else "open" for each, _, port in ALL]
    assert pair.outcomes(*ALL) == expected


def test_conntrack_takes_the_raw_packets_for_an_association(pair: Pair) -> None:
    pair.rules("-p sctp -m conntrack --ctstate INVALID -j DROP", "-m conntrack --ctstate NEW -p sctp -j ACCEPT")
    run("ip", "netns", "exec", SERVER, "iptables", "-P", "OUTPUT", "DROP")
    run(*f"ip netns exec {SERVER} iptables -A OUTPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT".split())
    try:
        assert pair.outcomes(("SCTP", ADDRESS, 80)) == ["open"]
    finally:
        run("ip", "netns", "exec", SERVER, "iptables", "-P", "OUTPUT", "ACCEPT")
        run("ip", "netns", "exec", SERVER, "iptables", "-F", "OUTPUT")


def test_dnat_rewrites_sctp_as_a_service_does(pair: Pair) -> None:
    rule = f"-t nat -A PREROUTING -p sctp -d {SECOND} --dport 8080 -j DNAT --to-destination {ADDRESS}:80"
    run("ip", "netns", "exec", SERVER, "iptables", *rule.split())
    assert pair.outcomes(("SCTP", SECOND, 8080)) == ["open"]


def test_refused_is_failed_not_blocked(pair: Pair) -> None:
    refused = pair.probe(("TCP", ADDRESS, 99), ("UDP", ADDRESS, 99))
    assert [(result["outcome"], result["detail"]) for result in refused] == [("failed", "connection refused")] * 2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_icmp_error_is_failed_with_its_reason(pair: Pair, protocol: str) -> None:
    pair.rules(f"-p {protocol.lower()} --dport 80 -j REJECT --reject-with icmp-host-unreachable")
    (result,) = pair.probe((protocol, ADDRESS, 80))
    assert (result["outcome"], result["detail"]) == ("failed", "no route to host"), result


def test_no_route_is_failed(pair: Pair) -> None:
    results = pair.probe(*((protocol, "10.98.0.1", 80) for protocol in PROTOCOLS))
    assert [(item["outcome"], item["detail"]) for item in results] == [("failed", "network is unreachable")] * 3


def test_one_attempts_error_is_not_anothers(pair: Pair) -> None:
    pair.rules("-p sctp --dport 81 -j REJECT --reject-with icmp-host-unreachable")
    targets = [("SCTP", ADDRESS, 80 + number % 2) for number in range(20)]
    assert pair.outcomes(*targets) == ["open", "failed"] * 10


def test_something_else_that_listens_is_failed(pair: Pair) -> None:
    code = "import socket; s = socket.create_server(('', 97)); print(flush=True); c = s.accept()[0]; c.send(b'SSH-2.0')"
    with inside(SERVER, sys.executable, "-c", code) as other:
        assert other.stdout is not None
        other.stdout.readline()
        (result,) = pair.probe(("TCP", ADDRESS, 97))
    assert result["outcome"] == "failed"
    assert "SSH-2.0" in result["detail"]


def test_names_are_resolved_first(pair: Pair) -> None:
    found = pair.probe(*((protocol, "known.test.", 80) for protocol in PROTOCOLS), ("TCP", "unknown.test.", 80))
    assert [item["outcome"] for item in found] == ["open"] * 3 + ["failed"], found
    assert "NXDOMAIN" in found[3]["detail"]


def test_a_name_server_that_does_not_answer_blocks(pair: Pair) -> None:
    pair.rules("-p udp --dport 53 -j DROP")
    (result,) = pair.probe(("TCP", "known.test.", 80))
    assert (result["outcome"], result["detail"]) == ("blocked", "name not resolved (no answer)")


def test_hundreds_at_once_take_no_longer_than_one(pair: Pair) -> None:
    pair.rules("-p tcp --dport 81 -j DROP", "-p udp --dport 81 -j DROP", "-p sctp --dport 81 -j DROP")
    outcomes = eventually(lambda: pair.outcomes(*(ALL * 50)) == ["open", "blocked"] * 150)
    assert outcomes < 5


def test_the_client_ends_with_its_input(pair: Pair) -> None:
    client = inside(CLIENT, sys.executable, "-m", "agents.probe", "client", stdin=subprocess.PIPE)
    output, _ = client.communicate("", timeout=5)
    assert (client.returncode, output) == (0, "")
