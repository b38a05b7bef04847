"""Channels with processes of this machine at their other end."""

import sys
import threading
import time
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kubeproof.config.cluster import LoadedInventory, SshAccess
from kubeproof.matrix import channel
from kubeproof.matrix.channel import Channel, ChannelError, Channels, client_command
from tests.unit.matrix.fake_cluster import loaded

CLIENT = [sys.executable, "-m", "agents.probe", "client"]
ONCE = [sys.executable, "-c", "print(input() and '{}', flush=True); print(input() and '{\"once\": 1}', flush=True)"]
"""Answers the hello and one request, then ends."""


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "channel.log"


@pytest.fixture
def client(log: Path) -> Iterator[Channel]:
    made = Channel("x/a", CLIENT, log)
    yield made
    made.close()


def test_lines_are_answered_by_one_process(client: Channel) -> None:
    assert "python" in client.ask({"do": "hello"})
    process = client._process
    probes = [
        {"id": number, "protocol": "TCP", "address": "127.0.0.1", "port": 1, "timeout": 1} for number in range(300)
    ]
    answer = client.ask({"do": "probe", "probes": probes})
    assert {result["detail"] for result in answer["results"]} == {"connection refused"}
    assert client._process is process


def test_what_comes_first_is_read_before_requests_and_not_logged(log: Path) -> None:
    words = [sys.executable, "-c", "x = input()\nwhile input(): print('{\"x\": \"' + x + '\"}', flush=True)"]
    made = Channel("x/a", words, log, "secret\n")
    for _ in range(2):
        assert made.ask({"do": "x"}) == {"x": "secret"}
        made._end()
    made.close()
    assert "secret" not in log.read_text()


def test_a_process_that_ended_is_started_again(log: Path) -> None:
    with_two = Channel("x/a", ONCE, log)
    assert with_two.ask({"do": "x"}) == {"once": 1}
    assert Channels([with_two]).ask({"x/a": {"do": "x"}}) == {"x/a": {"once": 1}}
    with_two.close()


def test_one_that_dies_again_and_again_is_a_problem_with_its_last_words(log: Path) -> None:
    dying = Channel("x/a", ["sh", "-c", "echo 'error: pod x/a not found' >&2; exit 1"], log)
    channels = Channels([dying])
    assert "not found" in channels.open()["x/a"]
    (answer,) = channels.ask({"x/a": {"do": "hello"}}).values()
    assert answer["problem"].startswith("channel to x/a: ")
    assert f"(error: pod x/a not found; log: {log})" in answer["problem"]
    # Twice, and never again: each case of a run would wait for it.
    assert log.read_text().count("\nerror: pod") == 2
    channels.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["sleep", "60"], "no answer in time"),
        (["cat"], "the answer is no JSON object|no answer"),
        (["sh", "-c", "read line; echo hello"], "Expecting value|ended"),
        (["sh", "-c", "read line; echo '[]'"], "no JSON object"),
        (["/no/such/program"], "No such file"),
    ],
)
def test_what_is_no_client(command: list[str], words: str, log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "OPEN_SECONDS", 0.3)
    monkeypatch.setattr(channel, "ANSWER_SECONDS", 0.3)
    if command == ["cat"]:
        # It says what it is told: JSON, but no answer; cells then have no result, which is a failed probe.
        echo = Channel("x/a", command, log)
        assert echo.ask({"do": "probe", "probes": []})["do"] == "probe"
        echo.close()
        return
    with pytest.raises(ChannelError, match=words):
        Channel("x/a", command, log).ask({"do": "hello"})


def test_a_client_that_reads_nothing_does_not_hang_a_run(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deaf = Channel(
        "x/a", [sys.executable, "-c", "print(input() and '{}', flush=True); import time; time.sleep(60)"], log
    )
    deaf.open()
    started = time.monotonic()
    with pytest.raises(ChannelError, match="takes no more requests"):
        deaf.ask({"do": "x" * (1 << 20)}, seconds=0.2)
    assert time.monotonic() - started < 5


def test_closing_ends_the_processes(client: Channel) -> None:
    client.open()
    process = client._process
    assert process is not None
    Channels([client]).close()
    assert process.poll() is not None


def test_closing_wakes_who_waits_for_an_answer(log: Path) -> None:
    silent = Channel("x/a", [sys.executable, "-c", "print(input() and '{}', flush=True); input(); input()"], log)
    channels = Channels([silent])
    assert not channels.open()
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(channels.ask({"x/a": {"do": "x"}})))
    asking.start()
    started = time.monotonic()
    channels.close()
    asking.join(5)
    assert time.monotonic() - started < 3
    assert not asking.is_alive()


def test_nothing_is_started_after_closing(client: Channel) -> None:
    channels = Channels([client])
    channels.close()
    with pytest.raises(ChannelError, match="closed"):
        client.open()


def test_clients_run_in_their_pods_by_ssh_to_the_leader() -> None:
    plain = loaded()
    leader = plain.cluster.leader.name
    access = {leader: SshAccess(leader, config_file=Path("/lab/ssh_config"))}
    inventory = LoadedInventory(plain.file, plain.cluster, access)
    words = client_command(inventory, "x/a")
    assert words[0] == "ssh"
    assert words[-2] == leader
    assert words[-1].endswith("exec -i -n kubeproof-x a -- /usr/bin/python3 -m agents.probe client")
    assert "-n kubeproof-probe k8s-node1" in client_command(inventory, "k8s-node1")[-1]
    assert client_command(inventory, "outside") == CLIENT
    assert plain.cluster.leader.address == IPv4Address("192.168.200.11")
