"""Clocks, places to fetch from, and packets between hosts: in a real shell, and between real network namespaces."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kubeproof.deploy.probing import clock, packets, sources
from kubeproof.rules.before_deploy.inspection import Arrivals, Asked, Reading
from kubeproof.rules.before_deploy.sources import Source
from tests.unit.node.example import cluster
from tests.unit.serving import serving

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace")
PREFIX = f"probing-test-{os.getpid()}"
SECRET = "http://user:secret@127.0.0.1:9"


class TestClock:
    def test_a_slow_way_makes_it_uncertain(self) -> None:
        assert clock.between(100.0, "107.500000000\n", 103.0) == Reading(ahead=6.0, uncertain=1.5)

    @pytest.mark.parametrize("answer", ["", "date: unknown option"])
    def test_no_clock(self, answer: str) -> None:
        assert clock.between(100.0, answer, 100.1) is None

    def test_the_command_runs_on_this_machine(self) -> None:
        done = subprocess.run(clock.COMMAND, capture_output=True, text=True, check=True)
        assert clock.between(0, done.stdout, 0) is not None


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(404 if "missing" in self.path else 200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Tests are silent."""


@pytest.fixture
def server() -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _Handler)) as running:
        yield f"http://127.0.0.1:{running.server_port}"


def ask(*places: Source, stdin: str = "\n", path: str = "") -> dict[str, str]:
    """What each place answered, by URL."""
    done = subprocess.run(
        sources.command(places, archives=False),
        input=stdin,
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **({"PATH": path} if path else {})},
    )
    return {item.source: item.answer for item in sources.answers(done.stdout.splitlines())}


class TestSources:
    def test_answers(self, server: str) -> None:
        found = ask(
            Source(f"{server}/there", "packages", proxied=False),
            Source(f"{server}/missing", "packages", proxied=False),
            Source("http://127.0.0.1:9/", "images", proxied=False),
        )
        assert found[f"{server}/there"] == "200"
        assert found[f"{server}/missing"] == "404"
        assert found["http://127.0.0.1:9/"].startswith("curl: (7)")

    def test_a_manifest_is_asked_for_with_curl_alone(self, server: str, tmp_path: Path) -> None:
        place = Source(f"{server}/v2/missing/manifests/1", "manifest", proxied=False)
        assert ask(place) == {place.url: "404"}
        for name in ("sh", "bash", "timeout", "printf"):
            (tmp_path / name).symlink_to(shutil.which(name) or "/bin/false")
        assert ask(place, path=str(tmp_path)) == {place.url: "untried"}

    def test_a_proxy_is_used_for_what_goes_by_it(self, server: str) -> None:
        direct, proxied = Source(f"{server}/a", "images", proxied=False), Source(f"{server}/b", "images", proxied=True)
        found = ask(direct, proxied, stdin=f"http {SECRET}\nhttps \nexcept .example.net\n")
        assert found[direct.url] == "200"
        assert found[proxied.url].startswith("curl: ")
        assert "secret" not in str(found)

    def test_a_password_is_in_no_command_line(self) -> None:
        wanted = cluster(http_proxy=SECRET)
        words = sources.command([Source("http://x/", "images", proxied=True)], archives=True)
        assert "secret" not in " ".join(words)
        assert sources.stdin(wanted).startswith(f"http {SECRET}\nhttps \nexcept localhost,127.0.0.1,")

    def test_without_curl_and_wget(self, server: str, tmp_path: Path) -> None:
        for name in ("sh", "bash", "timeout", "printf"):
            (tmp_path / name).symlink_to(shutil.which(name) or "/bin/false")
        url = f"{server}/missing"
        assert ask(Source(url, "packages", proxied=False), path=str(tmp_path)) == {url: "connected"}
        by_proxy = ask(Source(url, "images", proxied=True), path=str(tmp_path), stdin=f"http {SECRET}\n")
        assert by_proxy == {url: "untried"}
        (closed,) = ask(Source("http://127.0.0.1:9/", "images", proxied=False), path=str(tmp_path)).values()
        assert closed == "no connection to port 9 within 5 s"

    def test_lines_of_others_are_left_out(self) -> None:
        assert sources.answers(["hello", "images http://x/ curl: (6) no such host"]) == (
            Asked("http://x/", "images", "curl: (6) no such host"),
        )


class TestPackets:
    @pytest.mark.parametrize(
        ("lines", "expected"),
        [
            (["heard a", "heard b", "done"], Arrivals(frozenset({"a", "b"}))),
            (["done"], Arrivals()),
            (["window 1000.500 1006.250", "heard a", "done"], Arrivals(frozenset({"a"}), window=(1000.5, 1006.25))),
            (["bind: Address already in use"], Arrivals(trouble="bind: Address already in use")),
            ([], Arrivals(trouble="it printed nothing")),
        ],
    )
    def test_what_is_printed(self, lines: list[str], expected: Arrivals) -> None:
        assert packets.heard(lines) == expected

    @pytest.mark.netns
    @ROOT
    @pytest.mark.parametrize("modes", [("listen", "listen", "listen"), ("watch", "listen", "watch")])
    def test_hosts_hear_each_other_in_python_and_perl(self, network: dict[str, str], modes: tuple[str, ...]) -> None:
        found = self._exchange(network, modes)
        assert {name: heard.hosts for name, heard in found.items()} == {
            name: frozenset(network) - {name} for name in network
        }
        assert all(heard.window and abs(heard.window[0] - time.time()) < 60 for heard in found.values())

    @pytest.mark.netns
    @ROOT
    def test_what_a_firewall_drops_is_not_heard(self, network: dict[str, str]) -> None:
        drop = "add table inet t; add chain inet t i { type filter hook input priority 0; }; "
        subprocess.run(
            ["ip", "netns", "exec", f"{PREFIX}-b", "nft", f"{drop} add rule inet t i udp dport 8472 drop"], check=True
        )
        found = self._exchange(network, ("listen", "listen", "listen"))
        assert (found["b"].hosts, found["b"].trouble) == (frozenset(), "")
        assert found["a"].hosts == {"b", "c"}
        assert all(heard.window and 4 < heard.window[1] - heard.window[0] < 10 for heard in (found["a"], found["b"]))

    @staticmethod
    def _exchange(network: dict[str, str], modes: tuple[str, ...]) -> dict[str, Arrivals]:
        def run(place: int, name: str) -> Arrivals:
            others = {other: address for other, address in network.items() if other != name}
            words = packets.command(name, modes[place], 8472, others)  # type: ignore[arg-type]
            if name == "b":
                # This host has no Python.
                words = [word.replace("python3 /usr/libexec/platform-python perl", "perl") for word in words]
            done = subprocess.run(
                ["ip", "netns", "exec", f"{PREFIX}-{name}", *words], capture_output=True, text=True, check=False
            )
            assert not done.stderr
            return packets.heard(done.stdout.splitlines())

        with ThreadPoolExecutor() as pool:
            running = {name: pool.submit(run, place, name) for place, name in enumerate(network)}
            return {name: future.result() for name, future in running.items()}


@pytest.fixture
def network() -> Iterator[dict[str, str]]:
    """Three hosts on a bridge that is in a namespace of its own."""
    names = {"a": "10.99.7.1", "b": "10.99.7.2", "c": "10.99.7.3"}
    spaces = [f"{PREFIX}-hub", *(f"{PREFIX}-{name}" for name in names)]
    try:
        for space in spaces:
            subprocess.run(["ip", "netns", "add", space], check=True)
        subprocess.run(["ip", "-n", f"{PREFIX}-hub", "link", "add", "name", "hub", "type", "bridge"], check=True)
        subprocess.run(["ip", "-n", f"{PREFIX}-hub", "link", "set", "hub", "up"], check=True)
        for name, address in names.items():
            script = f"""
            ip -n {PREFIX}-hub link add p-{name} type veth peer name eth0 netns {PREFIX}-{name}
            ip -n {PREFIX}-hub link set p-{name} master hub up
            ip -n {PREFIX}-{name} link set eth0 up
            ip -n {PREFIX}-{name} addr add {address}/24 dev eth0"""
            subprocess.run(["sh", "-ec", script], check=True)
        yield names
    finally:
        for space in spaces:
            subprocess.run(["ip", "netns", "delete", space], check=False, stderr=subprocess.DEVNULL)
