"""The walk-through expects of every attempt what the policy engine says of it."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
import yaml

from kubeproof.node import templates
from kubeproof.policy.engine import End, NodeEnd, OutsideEnd, PodEnd, judge
from kubeproof.policy.model import Judged, Pod, World
from kubeproof.policy.reading import read_documents
from kubeproof.walkthrough.attempt import Attempt, FromHere, InPod, OnNode, Outcome
from kubeproof.walkthrough.scenario import CLIENTS, ONE, PART_OF, Stage, Step, steps
from tests.unit.proof import good

HERE = IPv4Address("192.168.200.1")
STAGE = Stage(
    httpd=IPv4Address("10.244.1.7"),
    kuard=IPv4Address("10.244.1.8"),
    home="k8s-node1",
    kuard_home="k8s-node1",
    addresses={
        name: IPv4Address(f"192.168.200.{11 + place}")
        for place, name in enumerate(("k8s-master", "k8s-node1", "k8s-node2"))
    },
    subnets={
        name: IPv4Network(f"10.244.{place}.0/24") for place, name in enumerate(("k8s-master", "k8s-node1", "k8s-node2"))
    },
    node_network=IPv4Network("192.168.200.0/24"),
    node_port=33000,
    page_port=31000,
)
PODS = {
    "httpd": Pod("default", "httpd", {"name": "networkpolicy-demo"}, STAGE.httpd, "k8s-node1"),
    "kuard": Pod("default", "kuard", {"app": "kuard"}, STAGE.kuard, "k8s-node1"),
    # A Service sends a request to any of them: this one is on the other worker.
    "httpd-2": Pod("default", "httpd-2", {"name": "networkpolicy-demo"}, IPv4Address("10.244.2.7"), "k8s-node2"),
    **{name: Pod("default", name, labels, IPv4Address(f"10.244.2.{20 + place}"), "k8s-node2")
       for place, (name, labels) in enumerate(CLIENTS.items())},
}  # fmt: skip


def world(step: Step) -> World:
    found = []
    if step.blocks is not None:
        found.append(yaml.safe_load(templates.render("access-httpd.yaml.j2", part_of=PART_OF, blocks=step.blocks)))
    return World.of(pods=PODS.values(), policies=read_documents(found, "template").policies)


def ends(attempt: Attempt) -> list[tuple[End, Pod]]:
    """Who the destination's host sees, and each pod that may answer."""
    way = attempt.way
    if isinstance(way, InPod):
        return [(PodEnd(PODS[way.pod]), PODS["httpd"])]
    if isinstance(way, OnNode):
        destination = PODS["kuard"] if "8080" in way.words[-1] else PODS["httpd"]
        return [(NodeEnd(way.node, STAGE.vtep(way.node)), destination)]
    asked = next(name for name, address in STAGE.addresses.items() if str(address) in way.url)
    answering = [PODS["httpd"]] if str(STAGE.page_port) in way.url else [PODS["httpd"], PODS["httpd-2"]]
    return [(OutsideEnd(HERE) if pod.node == asked else NodeEnd(asked, STAGE.vtep(asked)), pod) for pod in answering]


def all_attempts() -> list[object]:
    return [
        pytest.param(step, attempt, id=f"{step.number}-{attempt.who}")
        for step in steps(STAGE)
        for attempt in step.attempts
    ]


@pytest.mark.parametrize(("step", "attempt"), all_attempts())
def test_the_engine_says_the_same(step: Step, attempt: Attempt) -> None:
    protocol: Judged = "ICMP" if isinstance(attempt.way, InPod) and "ping" in attempt.way.words else "TCP"
    port = 8080 if isinstance(attempt.way, OnNode) and "8080" in attempt.way.words[-1] else 80
    allowed = {judge(world(step), source, PodEnd(pod), protocol, port).allowed for source, pod in ends(attempt)}
    assert allowed == {attempt.outcome is Outcome.OPEN}


def test_each_step_shows_a_difference_to_the_one_before() -> None:
    for step in steps(STAGE)[1:]:
        outcomes = {attempt.outcome for attempt in step.attempts}
        assert outcomes == {Outcome.OPEN, Outcome.BLOCKED}, step.title


def test_the_objects_of_the_stage_are_whole() -> None:
    text = templates.render(
        "policy-clients.yaml.j2",
        settings=type("Settings", (), {"kuard_image": "mirror:5000/kuard:1"}),
        clients=CLIENTS,
        part_of=PART_OF,
        one=ONE,
        httpd=STAGE.httpd,
    )
    kinds = [(item["kind"], item["metadata"]["name"]) for item in yaml.safe_load_all(text) if item]
    assert kinds == [*(("Pod", name) for name in CLIENTS), ("Service", ONE), ("Endpoints", ONE)]


def test_outside_requests_are_shown_as_a_person_would_make_them() -> None:
    line = FromHere("http://192.0.2.1:33000/", 3).line(good.loaded())
    assert line == "curl --noproxy '*' -m 2 http://192.0.2.1:33000/  # 3 times"


def test_where_pods_have_no_bridge_the_own_host_is_seen_by_its_own_address() -> None:
    """Canal: a pod hangs on a link without an address, and the kernel takes one of the host's own."""
    canal = replace(STAGE, own_source=("its host's", IPv4Address("192.168.200.12")))
    seen = {attempt.who: attempt.answer for attempt in steps(canal)[3].attempts if attempt.answer}
    assert seen == {
        "kuard asked by k8s-master sees its tunnel's address 10.244.0.0": '"10.244.0.0"',
        "kuard asked by k8s-node1 sees its host's address 192.168.200.12": '"192.168.200.12"',
        "kuard asked by k8s-node2 sees its tunnel's address 10.244.2.0": '"10.244.2.0"',
    }
