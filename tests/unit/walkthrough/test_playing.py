"""What the walk-through applies, shows and takes away, on a cluster that is made up."""

import json
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
import yaml

from kubeproof import walkthrough
from kubeproof.rules.api import ApiObjects, Pod, Service, ServicePort
from kubeproof.terminal.errors import CommandError, UserError
from kubeproof.walkthrough import attempting
from kubeproof.walkthrough.attempt import Attempt, Outcome, Result
from tests.unit.proof import good


def demo_pod(name: str, node: str, number: int, labels: dict[str, str]) -> Pod:
    address = good.subnet(node)[number]
    return Pod(
        "default", name, f"uid-{name}", node, address, False, "Running", ready=True, terminating=False, labels=labels
    )


ONE = Service(
    "default", "policy-one", IPv4Address("10.97.0.90"), (ServicePort("page", "tcp", 80, 31001),), False, False
)


def objects() -> ApiObjects:
    api = good.api()
    pods = (
        demo_pod("httpd-1", "node-b", 7, {"name": "networkpolicy-demo"}),
        demo_pod("httpd-2", "node-c", 7, {"name": "networkpolicy-demo"}),
        demo_pod("kuard-1", "node-c", 8, {"app": "kuard"}),
    )
    return replace(api, pods=(*api.pods, *pods), services=(*api.services, ONE))


class Cluster:
    """Records what kubectl is given; answers what it is asked."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.commands: list[str] = []
        self.applied: list[dict[str, object]] = []
        self.other_policies: list[str] = []
        self.outcome: dict[str, Outcome] = {}
        self.attempts: list[Attempt] = []
        patch.setattr("kubeproof.access.remote_kubectl.capture", self.capture)
        patch.setattr("kubeproof.walkthrough.playing._objects", lambda _loaded: objects())
        patch.setattr(attempting, "make", self.make)

    def capture(self, _loaded: object, words: Sequence[str], *, stdin: str = "") -> str:
        self.commands.append(" ".join(words))
        if words[0] == "apply":
            self.applied += [item for item in yaml.safe_load_all(stdin) if item]
        items = [{"metadata": {"name": name}} for name in self.other_policies]
        return json.dumps({"items": items})

    def make(self, _loaded: object, attempts: Sequence[Attempt]) -> list[tuple[Attempt, Result, float]]:
        self.attempts += attempts
        return [(item, Result(self.outcome.get(item.who, item.outcome), item.answer), 0.1) for item in attempts]

    @property
    def deletions(self) -> list[str]:
        return [command for command in self.commands if command.startswith("delete networkpolicies,pods")]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def test_all_steps_are_played_and_all_is_taken_away(cluster: Cluster) -> None:
    assert walkthrough.play(good.loaded()) == 0
    policies = [item for item in cluster.applied if item["kind"] == "NetworkPolicy"]
    assert len(policies) == 4
    assert len(cluster.deletions) == 1
    assert cluster.commands[-1] == cluster.deletions[0]
    assert len(cluster.attempts) > 30


def test_everything_that_is_added_has_the_label_by_which_it_is_taken_away(cluster: Cluster) -> None:
    walkthrough.play(good.loaded())
    assert all(
        item["metadata"]["labels"]["app.kubernetes.io/part-of"] == "kubeproof-walkthrough"  # type: ignore[index]
        for item in cluster.applied
    )


def test_httpd_and_kuard_are_chosen_on_one_host(cluster: Cluster) -> None:
    walkthrough.play(good.loaded(), step="1")
    endpoints = next(item for item in cluster.applied if item["kind"] == "Endpoints")
    assert endpoints["subsets"][0]["addresses"] == [{"ip": str(good.subnet("node-c")[7])}]  # type: ignore[index]


def test_the_last_policy_names_every_address_that_arrives(cluster: Cluster) -> None:
    walkthrough.play(good.loaded(), step="4")
    (policy,) = (item for item in cluster.applied if item["kind"] == "NetworkPolicy")
    peers = policy["spec"]["ingress"][0]["from"]  # type: ignore[index]
    blocks = [peer["ipBlock"]["cidr"] for peer in peers if "ipBlock" in peer]
    tunnels = [f"{good.subnet(name).network_address}/32" for name in good.NAMES]
    assert blocks == [str(good.cluster().settings.node_network), *tunnels]


def test_one_step_alone_may_stay(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    assert walkthrough.play(good.loaded(), step="2", keep=True) == 0
    assert not cluster.deletions
    assert "./inv policy --step 0" in capsys.readouterr().out


def test_what_comes_out_otherwise_is_told_and_fails(cluster: Cluster, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.outcome["a pod without the label, ping"] = Outcome.OPEN
    assert walkthrough.play(good.loaded(), step="1") == 1
    assert "expected: blocked" in capsys.readouterr().out
    assert cluster.deletions


@pytest.mark.parametrize("end", [KeyboardInterrupt, CommandError("kubectl exec: gone")])
def test_however_it_ends_all_is_taken_away(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, end: object) -> None:
    def fail(*_args: object) -> None:
        raise end  # type: ignore[misc]

    monkeypatch.setattr(attempting, "make", fail)
    with pytest.raises((KeyboardInterrupt, CommandError)):
        walkthrough.play(good.loaded())
    assert cluster.deletions


@pytest.mark.parametrize("step", ["5", "-1", "one"])
def test_there_are_only_so_many_steps(cluster: Cluster, step: str) -> None:
    with pytest.raises(UserError, match="use 0 to 4"):
        walkthrough.play(good.loaded(), step=step)
    assert not cluster.commands


def test_without_demo_or_enforcement_nothing_is_applied(cluster: Cluster) -> None:
    with pytest.raises(UserError) as error:
        walkthrough.play(good.loaded(demo=False, network_policy=False))
    assert [line.partition(":")[0] for line in error.value.problems] == ["demo", "network_policy"]
    assert not cluster.commands


def test_a_network_that_enforces_nothing(cluster: Cluster) -> None:
    with pytest.raises(UserError, match="cni: enforces no NetworkPolicy"):
        walkthrough.play(good.loaded(cni="flannel", network_policy=None))
    assert not cluster.commands


def test_another_policy_in_the_way_is_named(cluster: Cluster) -> None:
    cluster.other_policies = ["deny-all"]
    with pytest.raises(UserError, match="delete networkpolicy deny-all"):
        walkthrough.play(good.loaded())
    assert not cluster.applied


@pytest.mark.parametrize(
    ("said", "seen"),
    [
        ("10.98.2.8 dev cali0123456789a src 10.0.2.15 uid 0 \\    cache\n", "its host's address 10.0.2.15"),
        ("", "its host's address 10.99.0.13"),
    ],
)
def test_canals_hosts_are_asked_which_address_they_take(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, said: str, seen: str
) -> None:
    """A host with several interfaces takes the first address that it has, not the node's."""
    monkeypatch.setattr("kubeproof.access.remote_kubectl.over_ssh", lambda _access, _words: ["printf", "%s", said])
    assert walkthrough.play(good.loaded(cni="canal")) == 0
    assert f"kuard asked by node-c sees {seen}" in {attempt.who for attempt in cluster.attempts}
