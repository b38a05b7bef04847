"""What is told of pods that do not get ready, and when a wait for them ends early."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from kubeproof.deploy.operations import kubectl
from kubeproof.deploy.operations.remote import NodeError
from kubeproof.node.readiness import Expectation
from kubeproof.node.unready_pods import LASTING_SECONDS, Lasting, containers, details, warnings
from tests.unit.deploy.phases.fake_cluster import ready_objects
from tests.unit.node.test_readiness import EXPECTED, pod

MOUNT = 'MountVolume.SetUp failed for volume "bpffs" : hostPath type check failed: /sys/fs/bpf is not a directory'
CRASHED = {"exitCode": 1, "reason": "Error"}


def crashing(restarts: int, name: str = "calico-node") -> dict[str, Any]:
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    status = {
        "name": name,
        "restartCount": restarts,
        "state": {"waiting": waiting},
        "lastState": {"terminated": CRASHED},
    }
    return pod("canal-x", containerStatuses=[status])


def without_image(reason: str = "ImagePullBackOff") -> dict[str, Any]:
    waiting = {"reason": reason, "message": 'Back-off pulling image "x/y:1"'}
    return pod("canal-x", initContainerStatuses=[{"name": "install-cni", "state": {"waiting": waiting}}])


def event(when: str, message: str, **more: Any) -> dict[str, Any]:
    about = {"kind": "Pod", "namespace": "kube-system", "name": "canal-x"}
    return {"involvedObject": about, "reason": "FailedMount", "message": message, "lastTimestamp": when, **more}


def events(*items: dict[str, Any]) -> str:
    return json.dumps({"kind": "List", "items": items})


def test_the_last_warning_of_each_pod_counts() -> None:
    text = events(
        event("2026-01-01T00:02:00Z", f"{MOUNT}\nagain"),
        event("2026-01-01T00:01:00Z", "older"),
        event("", "from events.k8s.io", lastTimestamp=None, eventTime="2025-12-31T00:00:00.000000Z"),
        {"involvedObject": None, "message": None},
    )
    assert warnings(text)["kube-system/canal-x"] == f"FailedMount {MOUNT} again"


@pytest.mark.parametrize("text", ["", "error: no such resource", "[]", "{}", "null"])
def test_events_that_cannot_be_had_are_none(text: str) -> None:
    assert warnings(text) == {}


def test_all_that_is_known_is_told_in_one_line() -> None:
    found = containers([*ready_objects(), crashing(4)], EXPECTED)
    told = details(
        found, ["kube-system/canal-x"], {"kube-system/canal-x": "BackOff x"}, {"kube-system/canal-x": "panic: no bpf\n"}
    )
    assert told == [
        "pod kube-system/canal-x: container calico-node restarted 4 times, its last line: panic: no bpf, "
        "last event: BackOff x"
    ]
    assert details(found, ["kube-system/other"], {}, {}) == [
        "pod kube-system/canal-x: container calico-node restarted 4 times"
    ]


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (
            crashing(3),
            "container calico-node does not stay up: it ended 4 times, each time with an error (exit code 1)",
        ),
        (without_image(), 'its image cannot be had: ImagePullBackOff Back-off pulling image "x/y:1"'),
        (without_image("ErrImagePull"), "container install-cni cannot start"),
        (without_image("InvalidImageName"), "InvalidImageName"),
    ],
)
def test_what_lasts_is_given_up(item: dict[str, Any], words: str) -> None:
    lasting, found = Lasting(), containers([item], EXPECTED)
    assert lasting.given_up(found, 100.0) == []
    assert lasting.given_up(found, 100.0 + LASTING_SECONDS - 1) == []
    (line,) = lasting.given_up(found, 100.0 + LASTING_SECONDS)
    assert words in line


def test_what_does_not_last_is_not_given_up() -> None:
    lasting, found = Lasting(), containers([crashing(5)], EXPECTED)
    assert lasting.given_up(found, 0.0) == []
    assert lasting.given_up([], LASTING_SECONDS / 2) == []
    assert lasting.given_up(found, LASTING_SECONDS) == []
    few = containers([crashing(2)], EXPECTED)
    assert lasting.given_up(few, 1000.0) == lasting.given_up(few, 2000.0) == []


def test_a_pod_that_is_not_waited_for_ends_no_wait() -> None:
    elsewhere = Expectation(nodes=(), namespaces=("default",))
    assert containers([crashing(9)], elsewhere) == []
    assert containers([crashing(9)], EXPECTED.without(frozenset({"node1"}))) == []


class Waited:
    """A host with one control plane, whose kubectl answers and whose clock goes by steps."""

    def __init__(self, patch: pytest.MonkeyPatch, item: dict[str, Any]) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.asked: list[str] = []
        host: Any = SimpleNamespace(get_fact=lambda _: [*ready_objects(), item], log=self.lines.append)
        patch.setattr(kubectl, "try_run", self.answer)
        patch.setattr("kubeproof.deploy.operations.kubectl.time.monotonic", lambda: self.now)
        self.watch = kubectl._Watch(host, EXPECTED)

    def answer(self, _host: object, words: list[str]) -> tuple[bool, str]:
        self.asked.append(" ".join(words))
        if "events" in words:
            return True, events(event("2026-01-01T00:00:00Z", MOUNT))
        return "--previous" in words, "panic: runtime error\n"


def test_while_waiting_the_reason_is_told_every_15_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = {"name": "install-cni", "state": {"waiting": {"reason": "PodInitializing"}}}
    waited = Waited(monkeypatch, pod("canal-x", initContainerStatuses=[waiting]))
    assert "PodInitializing" in waited.watch.problem()
    assert waited.lines == waited.asked == []
    waited.now = kubectl.NEWS_SECONDS
    assert MOUNT in waited.watch.problem()
    assert waited.lines == [
        "waiting: pod kube-system/canal-x on node1 is not Ready: container install-cni: PodInitializing",
        f"waiting: pod kube-system/canal-x: last event: FailedMount {MOUNT}",
    ]
    waited.now += 1
    assert MOUNT in waited.watch.problem()
    assert len(waited.lines) == 2
    assert len(waited.asked) == 1


def test_a_crash_loop_ends_the_wait_with_its_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = Waited(monkeypatch, crashing(3))
    assert waited.watch.problem()
    waited.now = LASTING_SECONDS
    with pytest.raises(NodeError) as caught:
        waited.watch.problem()
    assert "does not stay up: it ended 4 times" in str(caught.value)
    assert "its last line: panic: runtime error" in str(caught.value)
    logs = "logs --previous --namespace kube-system canal-x --container calico-node --tail 1"
    assert any(words.endswith(logs) for words in waited.asked)
