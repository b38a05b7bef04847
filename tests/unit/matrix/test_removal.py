"""Removing the probe pods, against the timing of kubelet 1.20 and of the controller of namespaces."""

from typing import Any

import pytest

from kubeproof.matrix import deployment
from kubeproof.matrix.deployment import ProbePods
from kubeproof.matrix.layout import ALL_NAMESPACES
from tests.unit.matrix.fake_cluster import FakeApi, Json, api, loaded

ENDS_AFTER, REPORTS_EACH = 1.5, 10.0
"""Seconds: a container ends after its grace; kubelet takes ended pods away with its next report."""
LOOKS = (5.0, 10.0, 20.0, 40.0, 80.0)
"""When the controller looks for what is left in a namespace, after its deletion: 5 s, then 5, 10, 20 and 40 s later."""
AT_MOST = 10.0


class SlowApi(FakeApi):
    """Things that are deleted go when those that they wait for have, by a clock that only sleeping moves."""

    now = 3.0
    dead_node = ""
    stopped_late: set[str]

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        for item in self.of("pods"):
            self._end(item)
        for item in self.of("namespaces"):
            self._look(item)

    def _delete(self, collection: str, namespace: str, name: str) -> Json:
        for item in self.of(collection, namespace):
            if name in ("", item["metadata"]["name"]):
                item["metadata"].setdefault("deletionTimestamp", self.now)
        return {}

    def request(self, method: str, path: str, body: Json | None = None, **query: str) -> Json:
        answer = super().request(method, path, body, **query)
        if method == "DELETE" and body is not None:
            assert body["gracePeriodSeconds"] == 0
            for key, item in list(self.objects.items()):
                if key[0] == "pods" and f"/{key[1]}/" in path:
                    self.stopped_late.update(
                        ["x"] if "running" in item["status"]["containerStatuses"][0]["state"] else []
                    )
                    del self.objects[key]
        return answer

    def _end(self, pod: Json) -> None:
        deleted = pod["metadata"].get("deletionTimestamp")
        if deleted is None or pod["spec"]["nodeName"] == self.dead_node or self.now < deleted + ENDS_AFTER:
            return
        pod["status"]["containerStatuses"][0]["state"] = {"terminated": {}}
        if self.now // REPORTS_EACH > (deleted + ENDS_AFTER) // REPORTS_EACH:
            del self.objects["pods", pod["metadata"]["namespace"], pod["metadata"]["name"]]

    def _look(self, namespace: Json) -> None:
        name, deleted = namespace["metadata"]["name"], namespace["metadata"].get("deletionTimestamp")
        looked = namespace.setdefault("looked", 0)
        if deleted is not None and self.now >= deleted + LOOKS[looked]:
            namespace["looked"] += 1
            if not self.of("pods", name):
                del self.objects["namespaces", "", name]
            for pod in self.of("pods", name):
                pod["metadata"].setdefault("deletionTimestamp", self.now)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowApi:
    made = SlowApi(objects=api().objects)
    made.stopped_late = set()
    pods = ProbePods(made, loaded().cluster)
    pods.create()
    for pod in made.of("pods"):
        pod.setdefault("status", {})["containerStatuses"] = [{"ready": True, "state": {"running": {}}}]
    monkeypatch.setattr(deployment, "time", made)
    return made


def left(slow: SlowApi) -> list[Any]:
    return [key for key in slow.objects if key[1] in ALL_NAMESPACES or key[2] in ALL_NAMESPACES if key[0] != "services"]


def seconds_to_remove(slow: SlowApi) -> float:
    started = slow.now
    ProbePods(slow, loaded().cluster).remove()
    assert [key for key in left(slow) if key[0] in ("pods", "namespaces")] == []
    return slow.now - started


def test_it_takes_seconds_and_no_container_is_left_running(slow: SlowApi) -> None:
    assert seconds_to_remove(slow) < AT_MOST
    assert not slow.stopped_late


def test_a_node_that_is_down_does_not_hold_it_up(slow: SlowApi) -> None:
    slow.dead_node = "k8s-node1"
    assert seconds_to_remove(slow) < AT_MOST
    assert slow.stopped_late


def test_what_an_earlier_removal_has_begun_is_finished(slow: SlowApi) -> None:
    for namespace in ALL_NAMESPACES:
        slow.request("DELETE", f"/api/v1/namespaces/{namespace}")
    slow.sleep(6)
    assert seconds_to_remove(slow) < AT_MOST


def test_other_pods_stay(slow: SlowApi) -> None:
    seconds_to_remove(slow)
    assert slow.names("pods") == {"kube-system/kube-dns-1"}
