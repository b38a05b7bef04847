"""The enforcer on a node of namespaces: it loads what changes, guards the table, and says what is in force."""

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from agents.kubeapi import Api
from agents.podnet.__main__ import NAMESPACES, POLICIES, follow
from agents.podnet.__main__ import PODS as PODS_PATH
from agents.podnet.events import watch_kernel
from agents.podnet.files import Files
from agents.podnet.nodes import Node
from agents.podnet.plan import Config, PodnetError
from agents.podnet.policy.enforcer import Enforcer
from agents.podnet.policy.nft import Nft
from agents.podnet.policy.objects import World
from agents.podnet.policy.off import SwitchedOff
from tests.unit.agents.netns import eventually
from tests.unit.agents.policy.objects import Item, namespace, pod, policy, world
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
        self.rounds = 0
        self.deaf = False
        self.nft = nft
        self.enforcer = Enforcer("one", self._world, lambda: IPv4Network(SUBNET), nft, self.file, self._settle)
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

    def _world(self) -> World | None:
        self.rounds += 1
        return self.world

    def _told(self) -> None:
        if not self.deaf:
            self.enforcer.wake()

    def _settle(self) -> None:
        self.settled += 1

    def _run(self) -> None:
        # Everything that this thread starts is in the node's namespace, too.
        self.wire.enter("node")
        watch_kernel(lambda: None, self._told)
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


def test_what_does_not_matter_loads_nothing_but_is_said(guarded: Guarded) -> None:
    guarded.tell(DENY_B)
    eventually(guarded.in_force, seconds=2)
    before = loads(guarded)
    guarded.tell({**DENY_B, "metadata": {**DENY_B["metadata"], "resourceVersion": "18"}})
    eventually(lambda: guarded.in_force()["policies"] == {"x/deny": "18"}, seconds=2)
    assert loads(guarded) == before


def test_its_own_changes_wake_it_no_further(guarded: Guarded) -> None:
    guarded.tell(DENY_B)
    eventually(guarded.in_force, seconds=2)
    rounds = guarded.rounds
    eventually(lambda: guarded.rounds > rounds, seconds=2)  # the kernel has told of the load
    rounds, done = guarded.rounds, loads(guarded)
    guarded.wire.shell("nft", "add", "table", "ip", "of-others")  # kube-proxy's are no reason for a round, either
    time.sleep(0.5)
    assert guarded.rounds <= rounds + 1
    assert loads(guarded) == done


@pytest.mark.parametrize(
    "damage",
    [
        "delete table inet podnet",
        "flush ruleset",
        "flush chain inet podnet ingress",
        "insert rule inet podnet ingress accept",
        f"delete element inet podnet ingress_pods {{ {PODS['b']} }}",
    ],
)
def test_damage_is_mended(guarded: Guarded, damage: str) -> None:
    guarded.tell(DENY_B)
    eventually(lambda: guarded.in_force().get("policies"), seconds=2)
    good = guarded.table()
    done = loads(guarded)
    guarded.wire.load(damage)
    eventually(lambda: loads(guarded) > done and guarded.table() == good, seconds=2)


def test_damage_is_found_without_being_told(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.podnet.policy.enforcer.VERIFY_SECONDS", 0.3)
    guarded.deaf = True
    guarded.tell(DENY_B)
    eventually(guarded.in_force, seconds=2)
    good = guarded.table()
    guarded.wire.load("delete table inet podnet")
    eventually(lambda: guarded.table() == good, seconds=2)


def test_old_rules_stand_while_nft_fails(guarded: Guarded) -> None:
    assert isinstance(guarded.nft, CountingNft)
    guarded.tell(DENY_B)
    eventually(guarded.in_force, seconds=2)
    good = guarded.table()
    guarded.nft.failure = "nft -f -: Error: no memory"
    guarded.tell()
    eventually(lambda: "nft -f -: Error: no memory" in (guarded.enforcer.problem() or ""), seconds=2)
    assert guarded.table() == good
    assert guarded.in_force()["policies"] == {"x/deny": "17"}
    guarded.nft.failure = ""
    eventually(lambda: guarded.in_force()["policies"] == {}, seconds=3)
    assert guarded.enforcer.problem() is None


def test_what_cannot_be_expressed_is_named(guarded: Guarded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    odd = policy("odd", {"podSelector": {"matchLabels": {"app": "b"}}, "ingress": [{"ports": [{"protocol": "DCCP"}]}]})
    guarded.tell(odd)
    reason = "spec.ingress[0].ports[0]: unknown protocol DCCP"
    eventually(lambda: guarded.in_force().get("inexpressible") == {"x/odd": reason}, seconds=2)
    assert not tcp(guarded.wire, "a", "b", 80)
    line = f"policy x/odd is enforced strictly, what cannot be expressed allows nothing: {reason}"
    eventually(lambda: line in caplog.messages)
    guarded.tell()
    eventually(lambda: f"settled: {line}" in caplog.messages)


@pytest.mark.parametrize("there", [True, False])
def test_what_an_earlier_agent_said_holds_as_long_as_its_rules(shared_wire: Wire, tmp_path: Path, there: bool) -> None:
    shared_wire.shell("nft", "flush", "ruleset")
    if there:
        shared_wire.load("table inet podnet { }")
    guarded = Guarded(shared_wire, tmp_path, Nft())
    guarded.file.write_text('{"enforced": true}')
    problem = shared_wire.inside("node", guarded.enforcer.enforce)
    assert problem == "NetworkPolicy: waiting for the lists of pods, namespaces and policies"
    assert guarded.file.exists() == there


def test_a_node_that_cannot_enforce_says_why(shared_wire: Wire, tmp_path: Path) -> None:
    class OldNft(Nft):
        def check(self, text: str) -> None:
            raise PodnetError("nft --check -f -: Error: Could not process rule: Operation not supported")

    guarded = Guarded(shared_wire, tmp_path, OldNft())
    with pytest.raises(PodnetError, match="the kernel or nft of this node cannot: nft --check -f -: Error"):
        shared_wire.inside("node", guarded.enforcer.enforce)


def test_a_hundred_pods_within_a_second(guarded: Guarded) -> None:
    pods = tuple(
        pod(
            f"p{number}",
            f"10.99.{128 + number % 2}.{number + 5}",
            {"app": f"app{number % 7}"},
            node=("one", "two")[number % 2],
        )
        for number in range(100)
    )
    policies = [
        policy(
            f"p{number}",
            {"podSelector": {"matchLabels": {"app": f"app{number}"}}, "ingress": [{"from": [{"podSelector": {}}]}]},
        )
        for number in range(7)
    ]
    guarded.tell(*policies, pods=(A, B, *pods))
    eventually(guarded.in_force, seconds=3)
    for change in ([*policies, DENY_B], policies):
        guarded.tell(*change, pods=(A, B, *pods))
        names = {f"x/{item['metadata']['name']}" for item in change}
        took = eventually(lambda names=names: set(guarded.in_force()["policies"]) == names, seconds=3)  # type: ignore[misc]
        assert took < 1


def test_switched_off(shared_wire: Wire, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shared_wire.load("table inet podnet { chain x { }; }")
    off = SwitchedOff(Nft(), tmp_path / "policies.json")

    assert shared_wire.inside("node", off.problem) is None
    assert shared_wire.inside("node", off.problem) is None
    assert "podnet" not in shared_wire.shell("nft", "list", "tables")
    assert json.loads((tmp_path / "policies.json").read_text())["enforced"] is False
    assert [record.message for record in caplog.records if record.levelno == logging.WARNING] == [
        "NetworkPolicy is switched off (NETWORK_POLICY=off): policies are accepted and have no effect"
    ]


class FakeApi(Api):
    """Lists what it is given, and tells of events that are put into queues."""

    def __init__(self, lists: dict[str, list[Item]]) -> None:
        self.where = "a test"
        self.lists = lists
        self.events: dict[str, queue.Queue[Item]] = {path: queue.Queue() for path in lists}

    def list(self, path: str, take: Callable[[Item], None]) -> str:
        for item in self.lists[path]:
            take(item)
        return "1"

    def watch(self, path: str, version: str) -> Iterator[Item]:
        yield self.events[path].get()


def test_it_follows_the_api(shared_wire: Wire, tmp_path: Path) -> None:
    shared_wire.shell("nft", "flush", "ruleset")
    api = FakeApi({PODS_PATH: [A, B], NAMESPACES: [namespace("x")], POLICIES: []})
    config = Config("one", IPv4Network("10.99.0.0/16"), 1, 8472)
    files = Files(policies=tmp_path / "policies.json")
    nodes = {"one": Node("one", pod_cidr=IPv4Network(SUBNET))}
    enforcer = follow(api, lambda: nodes, config, files, lambda: None)
    shared_wire.inside("node", enforcer.start)
    try:
        eventually(lambda: enforcer.problem() is None, seconds=2)
        metadata = {**DENY_B["metadata"], "resourceVersion": "17"}
        api.events[POLICIES].put({"type": "ADDED", "object": {**DENY_B, "metadata": metadata}})
        took = eventually(lambda: '"x/deny": "17"' in files.policies.read_text(), seconds=2)
        assert took < 1
        assert not tcp(shared_wire, "a", "b", 80)
        relabelled = {**B["metadata"], "labels": {"app": "other"}, "resourceVersion": "18"}
        api.events[PODS_PATH].put({"type": "MODIFIED", "object": {**B, "metadata": relabelled}})
        eventually(lambda: tcp(shared_wire, "a", "b", 80), seconds=3)
    finally:
        enforcer.stop()
