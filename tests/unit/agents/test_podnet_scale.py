"""What `./inv bench --agent` measures: an agent that follows the stand-in of the API, in a namespace of its own."""

import re
import subprocess
from pathlib import Path

import pytest

from agents.podnet.differences import Set
from agents.podnet.host import Host
from agents.podnet.plan import PodnetError
from tests.scale import agent, objects
from tests.scale.api_stand_in import encode
from tests.unit.agents.test_podnet_plan import planned


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("IDLE", 1.0), ("CHANGES", 1.0), ("SETTLED", 0.5), ("CONVERGED", 60.0)):
        monkeypatch.setattr(agent, f"{name}_SECONDS", seconds)


@pytest.mark.netns
@pytest.mark.usefixtures("brief")
def test_an_agent_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert agent.main([4]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("4 nodes, 40 pods, 8 policies: podnet by ")
    assert told[0].endswith(" against a stand-in of the API")
    # Lists of nodes, pods, namespaces and policies, a watch of each, and the VTEP that is published.
    assert told[3].startswith("  9 requests, 4 of them lists, ")
    changes = [
        re.fullmatch(r"  (a .*): (\d+) in 1 s, .* each, (\d+) requests, in force .*", line) for line in told[5:9]
    ]
    assert [found and found.group(3) for found in changes] == ["0"] * 4
    assert told[-1].startswith("  computed, not run: 4 such agents that start at once ask 36 times")
    assert agent.NAMESPACE not in subprocess.run(["ip", "netns", "list"], capture_output=True, text=True).stdout


@pytest.mark.netns
@pytest.mark.usefixtures("brief")
def test_an_agent_that_ends_is_told_with_its_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert agent.main([4], tmp_path) == 1
    assert "podnet with 4 nodes: podnet has ended:" in (error := capsys.readouterr().err)
    assert "No module named" in error


class Routes:
    """Netlink that can only set routes."""

    def __init__(self) -> None:
        self.devices: list[int] = []

    def route(self, _command: str, *, oif: int, **_: object) -> None:
        self.devices.append(oif)


def test_an_entry_needs_no_list_of_links(monkeypatch: pytest.MonkeyPatch) -> None:
    netlink = Routes()
    route = Set(next(iter(planned().routes)))
    monkeypatch.setattr("socket.if_nametoindex", {"flannel.1": 7}.__getitem__)
    Host(netlink).apply(route)
    assert netlink.devices == [7]


def test_an_entry_of_a_device_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: str) -> int:
        raise OSError

    monkeypatch.setattr("socket.if_nametoindex", gone)
    with pytest.raises(PodnetError, match="has just been deleted"):
        Host(Routes()).apply(Set(next(iter(planned().routes))))


def test_objects_are_as_large_as_real_ones() -> None:
    assert 6_000 < len(encode(objects.make_pod(0, 500))) < 9_000
    assert 6_000 < len(encode(objects.make_node(0))) < 12_000
