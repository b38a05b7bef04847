"""Packets between nodes: shell that a shell takes, and a reader of what it prints."""

import base64
import contextlib
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeproof.state import paths_between
from kubeproof.state.errors import ParseError
from kubeproof.state.paths_between import CONNECTED, REFUSED, TIMED_OUT, CapturedEcho, PathProbe, PathProbes, Tunnel
from tests.unit.state.frames import echo, pcap, tunnelled

A, B = "10.99.0.11", "10.99.0.12"
PODS = ("10.98.0.0", "10.98.1.0")
NONCE = "abcd1234"


def printed(*frames: bytes, errors: str = "checksum-errors 2") -> str:
    capture = base64.b64encode(pcap(*frames)).decode()
    lines = [f"way {B} yes connected 02:00:00:00:00:0b - timed-out", "way 10.99.0.13 yes timed-out - 1400 -"]
    lines += ["tunnel 10.98.1.0 yes no refused", errors, "offload off", "capture", capture]
    return "\n".join(line for line in lines if line) + "\n"


def test_what_is_printed_is_read() -> None:
    frames = [
        tunnelled((A, B), PODS, echo(8, NONCE.encode() * 5)),
        tunnelled((B, A), PODS[::-1], echo(0, NONCE.encode() * 5)),
        tunnelled((B, A), PODS[::-1], echo(8, b"somebody else's")),
    ]
    path_probes = paths_between.parse(printed(*frames), nonce=NONCE)
    assert path_probes.paths == {
        IPv4Address(B): PathProbe(True, CONNECTED, "02:00:00:00:00:0b", own=TIMED_OUT),
        IPv4Address("10.99.0.13"): PathProbe(True, TIMED_OUT, "", passes=1400),
    }
    assert path_probes.tunnels == {IPv4Address("10.98.1.0"): Tunnel(True, False, REFUSED)}
    ends = IPv4Address(A), IPv4Address(B)
    assert path_probes.captured == {CapturedEcho(*ends, True), CapturedEcho(*ends[::-1], False)}
    assert (path_probes.checksum_errors, path_probes.offload) == (2, False)


NO_PCAP = printed().partition("capture")[0] + "capture\nbm8=\n"


@pytest.mark.parametrize("text", [printed(errors=""), "way x y z a b c\n", NO_PCAP])
def test_half_an_answer_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        paths_between.parse(text, nonce=NONCE)


def test_a_cluster_of_one_node_sends_nothing() -> None:
    command = paths_between.command(others={}, device="flannel.1", port=8472, nonce=NONCE, seconds=4)
    assert paths_between.parse(subprocess.check_output(["sh", "-c", command], text=True), nonce=NONCE) == PathProbes()


def test_an_odd_line_hides_no_other() -> None:
    whole = paths_between.parse(printed(), nonce=NONCE)
    for odd in (
        "way 10.99.0.14 yes",
        "way host yes connected - - -",
        "way 10.99.0.14 yes connected - -",
        "tunnel",
        "bash: what?",
    ):
        assert paths_between.parse(f"{odd}\n{printed()}", nonce=NONCE) == whole


@pytest.mark.parametrize("missing", ["tcpdump", "ping", "bash", "base64"])
def test_a_tool_that_is_missing_is_told_and_not_taken_for_lost_packets(tmp_path: Path, missing: str) -> None:
    for tool in {"tcpdump", "ping", "bash", "base64"} - {missing}:
        (tmp_path / tool).write_text("#!/bin/sh\n")
        (tmp_path / tool).chmod(0o755)
    command = paths_between.command(others={IPv4Address(B): 22}, device="flannel.1", port=8472, nonce=NONCE, seconds=4)
    path = {"PATH": str(tmp_path)}
    done = subprocess.run(["/bin/sh", "-c", command], env=path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (127, f"{missing} is not installed\n")


@given(st.text(max_size=200))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    with contextlib.suppress(ParseError):
        paths_between.parse(text, nonce=NONCE)


def test_the_command_is_shell_that_a_shell_takes() -> None:
    others = {IPv4Address(A): 22, IPv4Address(B): 2222}
    command = paths_between.command(others=others, device="flannel.1", port=8472, nonce=NONCE, seconds=4)
    subprocess.run(["sh", "-n", "-c", command], check=True)
    assert f"{B}:2222" in command
