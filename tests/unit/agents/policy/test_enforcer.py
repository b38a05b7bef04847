"""The enforcer on a node of namespaces: it loads what changes, guards the table, and says what is in force."""

import json
import threading
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from agents.podnet.events import watch_kernel
from agents.podnet.plan import PodnetError
from agents.podnet.policy.enforcer import Enforcer
from agents.podnet.policy.nft import Nft
from agents.podnet.policy.objects import World
from tests.unit.agents.netns import eventually
from tests.unit.agents.policy.objects import Item, pod, policy, world
from tests.unit.agents.policy.wire import PODS, SUBNET, Wire, tcp

pytestmark = pytest.mark.netns

A = pod("a", PODS["a"], {"app": "a"})
B = pod("b", PODS["b"], {"app": "b"})
DENY_B = policy("deny", {"podSelector": {"matchLabels": {"app": "b"}}}, version="17")


class Guarded:
    """An enforcer in a node's namespace, with what the API server would tell it."""

    def __init__(self, wire: Wire, directory: Path, nft: Nft) -> None:
        self.wire = wire
        self.world: World | None = None
        self.file = directory / "policies.json"
        self.settled = 0
        self.nft = nft
        self.enforcer = Enforcer("one", lambda: self.world, lambda: IPv4Network(SUBNET), nft, self.file, self._settle)
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self.enforcer.stop()
        self._thread.join()

    def tell(self, *policies: Item, pods: tuple[Item, ...] = (A, B)) -> None:
        self.world = world(list(pods), list(policies))
        self.enforcer.wake()

    def in_force(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}
        return found

    def table(self) -> str:
        return self.wire.shell("nft", "list", "table", "inet", "podnet", check=False)

    def _settle(self) -> None:
        self.settled += 1

    def _run(self) -> None:
        # Everything that this thread starts is in the node's namespace, too.
        self.wire.enter("node")
        watch_kernel(lambda: None, self.enforcer.wake)
        self.enforcer.run()


class CountingNft(Nft):
    """Counts what is loaded; fails with a message while it has one."""

    def __init__(self) -> None:
        self.loads = 0
        self.failure = ""

    def load(self, text: str) -> None:
        if self.failure:
            raise PodnetError(self.failure)
        self.loads += 1
        super().load(text)


@pytest.fixture(scope="module")
def shared_wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


@pytest.fixture
def guarded(shared_wire: Wire, tmp_path: Path) -> Iterator[Guarded]:
    shared_wire.shell("nft", "flush", "ruleset")
    guarded = Guarded(shared_wire, tmp_path, CountingNft())
    guarded.start()
    yield guarded
    guarded.stop()


def loads(guarded: Guarded) -> int:
    assert isinstance(guarded.nft, CountingNft)
    return guarded.nft.loads


def test_rules_of_an_earlier_agent_stand_until_all_is_known(guarded: Guarded) -> None:
    guarded.wire.shell("nft", "add", "table", "inet", "podnet")
    guarded.enforcer.wake()
    assert guarded.enforcer.problem() == "NetworkPolicy: waiting for the lists of pods, namespaces and policies"
    assert loads(guarded) == 0
    assert "table inet podnet" in guarded.table()
    guarded.tell(DENY_B)
    eventually(lambda: guarded.enforcer.problem() is None, seconds=2)
    assert "chain ingress" in guarded.table()
    assert guarded.settled == 1


def test_changes_are_in_force_and_said_to_be(guarded: Guarded) -> None:
    guarded.tell()
    eventually(guarded.in_force, seconds=2)
    assert tcp(guarded.wire, "a", "b", 80)
    guarded.tell(DENY_B)
    assert eventually(lambda: guarded.in_force()["policies"] == {"x/deny": "17"}, seconds=2) < 1
    assert not tcp(guarded.wire, "a", "b", 80)
    said = guarded.in_force()
    assert said["enforced"] is True
    assert said["pods"] == {
        "x/a": {"ip": PODS["a"], "labels": "d5c06a525080"},
        "x/b": {"ip": PODS["b"], "labels": "c77c23750a85"},
    }
    assert said["namespaces"] == {"x": "44136fa355b3"}
    assert said["inexpressible"] == {}
    assert said["rules"] > 5
    guarded.tell()
    eventually(lambda: guarded.in_force()["policies"] == {}, seconds=2)
    assert tcp(guarded.wire, "a", "b", 80)
