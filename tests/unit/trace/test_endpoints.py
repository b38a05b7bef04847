"""What FROM and TO may be, and what is wrong with them in one line each."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from kubeproof.state.collector import Output
from kubeproof.terminal.errors import UserError
from kubeproof.trace.endpoints import Asked, question
from kubeproof.trace.model import OUTSIDE, End
from kubeproof.trace.world import make
from tests.unit.trace.lab import FAR, KUARD, NODE1, NODE2, asked, changed, healthy, predicted, with_objects


def service(name: str, **spec: object) -> dict[str, object]:
    metadata = {"name": name, "namespace": "default", "labels": {}}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec, "status": {}}


def problems(source: str, destination: str, port: str = "", protocol: str = "tcp") -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        asked(healthy(), source, destination, port, protocol)
    return caught.value.problems


def test_everything_that_is_wrong_is_told_at_once() -> None:
    protocol, source, destination = problems("default/nobody", "nowhere", protocol="gre")
    assert protocol == "--protocol: gre is not known; use tcp, udp, sctp, icmp"
    assert source.startswith("FROM: there is no pod default/nobody; there are default/httpd-d5d58d4df-8qswr, ")
    assert destination.startswith("TO: there is no pod default/nowhere and no node nowhere; there are ")


@pytest.mark.parametrize(
    ("destination", "port", "protocol", "problem"),
    [
        (FAR, "web", "tcp", f"--port: {FAR} has no TCP port of the name web; there are http"),
        (FAR, "70000", "tcp", "--port: 70000 is out of range; use 1 to 65535"),
        (FAR, "80", "icmp", "--port: ICMP has no ports; leave it out"),
        (NODE2, "", "tcp", "--port: is missing; write a number"),
        (f"{NODE2}:33000", "80", "tcp", "--port: TO names port 33000 already; leave one of them out"),
        (
            "10.244.3.250",
            "80",
            "tcp",
            "TO: 10.244.3.250 is of the pods of node k8s-node2, and no pod has it; give its Pod",
        ),
        ("httpd-svc", "80", "icmp", "--port: ICMP has no ports; leave it out"),
        ("httpd-svc", "0", "tcp", "--port: 0 is out of range; use 1 to 65535"),
        ("httpd-svc", "70000", "tcp", "--port: 70000 is out of range; use 1 to 65535"),
        ("httpd-svc", "", "udp", "--port: Service default/httpd-svc (10.1.250.37) has none; use another protocol"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(destination: str, port: str, protocol: str, problem: str) -> None:
    assert problems(KUARD, destination, port, protocol) == (problem,)


def test_a_pod_without_an_address_is_told_as_that() -> None:
    metadata = {"name": "waiting", "namespace": "default", "labels": {}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": NODE1}, "status": {}}
    with pytest.raises(UserError, match="pod default/waiting has no address"):
        asked(with_objects(healthy(), pod), KUARD, "waiting", "80")


def test_a_service_without_endpoints_is_traced_and_told_as_that() -> None:
    state = with_objects(healthy(), service("empty", clusterIP="10.1.9.9", ports=[{"port": 80}]))
    prediction = predicted(state, KUARD, "empty")
    assert prediction.notes == ("Service default/empty (10.1.9.9) has no ready endpoint at port 80",)
    assert prediction.walks[0].outcome.reason.startswith("no rule translates 10.1.9.9")


def test_the_name_of_a_headless_service_leads_to_the_pods_themselves() -> None:
    addresses = [{"ip": "10.244.1.47"}, {"ip": "10.244.3.10"}]
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "heads", "namespace": "default"},
        "subsets": [{"addresses": addresses, "ports": [{"port": 80}]}],
        "spec": {},
        "status": {},
    }
    headless = service("heads", clusterIP="None", selector={"a": "b"}, ports=[{"port": 80}])
    prediction = predicted(with_objects(healthy(), headless, endpoints), KUARD, "heads")
    assert prediction.succeeds
    assert [walk.probability for walk in prediction.walks] == [0.5, 0.5]
    assert "leads to 2 pods themselves" in prediction.notes[0]
    chance = "-A FORWARD -d 10.244.1.47/32 -m statistic --mode random --probability 0.5 -j DROP\n-A FORWARD "
    some = changed(healthy(), NODE1, "iptables", lambda text: text.replace("-A FORWARD ", chance, 1))
    prediction = predicted(with_objects(some, headless, endpoints), KUARD, "heads")
    assert [walk.probability for walk in prediction.walks] == [0.5, 0.25, 0.25]


@pytest.mark.parametrize(
    ("port", "protocol", "ends"),
    [
        ("web", "tcp", ["10.244.1.47:8080", "10.244.3.10:8080"]),
        ("80", "tcp", ["10.244.1.47:80", "10.244.3.10:80"]),
        ("", "udp", ["10.244.1.47:5353"]),
        ("9", "tcp", ["10.244.1.47:9", "10.244.3.10:9"]),
        ("", "icmp", ["10.244.1.47", "10.244.3.10"]),
    ],
)
def test_of_a_headless_service_the_port_is_followed_that_is_asked_for(
    port: str, protocol: str, ends: list[str]
) -> None:
    both = [{"ip": "10.244.1.47"}, {"ip": "10.244.3.10"}]
    endpoints = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "heads", "namespace": "default"},
        "subsets": [
            {"addresses": both, "ports": [{"name": "web", "port": 8080}]},
            {"addresses": both[:1], "ports": [{"name": "dns", "port": 5353, "protocol": "UDP"}]},
        ],
        "spec": {},
        "status": {},
    }
    ports = [{"name": "web", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    state = with_objects(healthy(), service("heads", clusterIP="None", selector={"a": "b"}, ports=ports), endpoints)
    starts = asked(state, KUARD, "heads", port, protocol).starts
    assert [str(start.packet).partition(" > ")[2] for start in starts] == ends


def test_a_name_outside_is_looked_up_and_so_is_the_one_of_an_external_name() -> None:
    found = {"a.example": IPv4Address("198.51.100.7")}
    state = make(with_objects(healthy(), service("elsewhere", externalName="a.example", type="ExternalName")))
    for name in ("a.example", "elsewhere"):
        (start,) = question(state, Asked(KUARD, name, "443"), look_up=found.get).starts
        assert str(start.packet) == "10.244.1.46:40000 > 198.51.100.7:443"


def test_from_outside_is_from_this_machine_or_from_an_address() -> None:
    for source in ("outside", "192.168.200.1"):
        (start,) = asked(healthy(), source, f"{NODE1}:33000").starts
        assert (start.node, str(start.packet.source)) == (OUTSIDE, "192.168.200.1")
    unknown = replace(healthy(), facts=replace(healthy().facts, outside=None))
    with pytest.raises(UserError, match="FROM: which address this machine has"):
        asked(unknown, "outside", f"{NODE1}:33000")


def test_a_node_that_is_down_leaves_what_it_does_undecided() -> None:
    outputs = {name: found for name, found in healthy().outputs.items() if name != NODE2}
    state = replace(healthy(), outputs=outputs, unreachable={NODE2: "no route to host"})
    for source, destination in ((KUARD, FAR), (FAR, KUARD)):
        walk = predicted(state, source, destination, "8080").walks[0]
        assert walk.there.end is End.UNDECIDED
        assert walk.there.reason == f"what {NODE2} does {'with it ' * (source == KUARD)}is not known: no route to host"


def test_a_command_that_failed_leaves_the_walk_undecided() -> None:
    node = {**healthy().outputs[NODE1], "nft": Output(1, "", "nft: not permitted")}
    state = replace(healthy(), outputs={**healthy().outputs, NODE1: node})
    walk = predicted(state, KUARD, FAR, "80").walks[0]
    assert (walk.there.end, walk.there.reason) == (
        End.UNDECIDED,
        "k8s-node1: nft could not be read (nft: not permitted)",
    )
