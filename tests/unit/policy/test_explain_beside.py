"""`./inv explain` where more than pods and NetworkPolicies decides, or where something is missing."""

import json
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.access import remote_kubectl
from kubeproof.config.cluster import Cluster, LoadedInventory, SshAccess
from kubeproof.config.cluster import Node as Host
from kubeproof.config.settings import parse
from kubeproof.policy import explain
from kubeproof.policy.explain import Network, Question
from kubeproof.policy.model import NAME_LABEL
from kubeproof.policy.reading import Objects, read_cluster, read_documents
from kubeproof.terminal.errors import UserError
from tests.unit.policy.test_explain import named, node, pod
from tests.unit.samples import SETTINGS


def labelled(item: dict[str, Any], **labels: str) -> dict[str, Any]:
    return {**item, "metadata": {**item["metadata"], "labels": labels}}


def web(name: str, address: str, number: int = 8080, **labels: str) -> dict[str, Any]:
    ports = [{"name": "http", "containerPort": number}]
    return labelled(pod("shop", name, address, containers=[{"name": "c", "ports": ports}]), app="web", **labels)


def service(name: str = "front", **spec: Any) -> dict[str, Any]:
    ports = [{"name": "web", "port": 80, "targetPort": "http"}]
    return named("Service", name, "shop", spec={"selector": {"app": "web"}, "ports": ports, **spec})


PODS = [web("web-1", "10.244.1.5"), pod("ops", "prom", "10.244.2.7", "n2"), named("Namespace", "shop")]
FRONT = service(clusterIP="10.96.0.77")
CLOSED = named("NetworkPolicy", "closed", "shop", spec={"podSelector": {}})


def objects(*items: dict[str, Any]) -> Objects:
    return read_documents([*PODS, *items], "test")


def answer(*items: dict[str, Any], to: str, source: str = "ops/prom", port: str = "80", protocol: str = "TCP") -> Any:
    return explain.explain(objects(*items), Question(source, to, port, protocol))


def refused(*items: dict[str, Any], **asked: str) -> str:
    with pytest.raises(UserError) as raised:
        answer(*items, **asked)
    (line,) = raised.value.problems
    return line


SERVICE_NAMES = ["10.96.0.77", "shop/front", "front.shop.svc", "front.shop.svc.cluster.local"]


@pytest.mark.parametrize("to", SERVICE_NAMES)
@pytest.mark.parametrize("port", ["80", "web"])
def test_a_service_is_judged_by_the_pods_behind_it(to: str, port: str) -> None:
    found = answer(FRONT, CLOSED, to=to, port=port)
    assert found.code == 1
    assert found.lines[0] == f"denied: ops/prom to Service shop/front (10.96.0.77), TCP {port}"
    assert "  at shop/web-1, TCP 8080:" in found.lines
    assert answer(FRONT, to=to, port=port).code == 0


@pytest.mark.parametrize(
    ("spec", "port", "at"),
    [
        ({"ports": [{"port": 80}]}, "80", "TCP 80"),
        ({"ports": [{"port": 80, "targetPort": 9000}]}, "80", "TCP 9000"),
        ({"ports": [{"port": 80, "targetPort": 1}, {"port": 81, "targetPort": 2}]}, "81", "TCP 2"),
        ({"clusterIP": "fd00::1", "clusterIPs": ["fd00::1", "10.96.0.9"]}, "80", "TCP 8080"),
        ({"clusterIP": "None"}, "7", "TCP 7"),
        ({"clusterIP": "None"}, "web", "TCP 8080"),
    ],
)
def test_ports_and_addresses_of_services(spec: dict[str, Any], port: str, at: str) -> None:
    assert f"  at shop/web-1, {at}:" in answer(service(**spec), to="shop/front", port=port).lines


def test_a_service_that_is_closed_in_part_is_not_allowed() -> None:
    one = named("NetworkPolicy", "one", "shop", spec={"podSelector": {"matchLabels": {"v": "2"}}})
    found = answer(FRONT, one, web("web-2", "10.244.1.6", v="2"), web("web-3", "10.244.1.7"), to="shop/front")
    assert found.code == 1
    assert found.lines[0].endswith("; by 1 of the 3 pods behind it")
    assert "  at shop/web-1, TCP 8080, and so 1 more:" in found.lines


def test_a_pods_name_goes_before_a_services() -> None:
    assert answer(service("web-1"), to="shop/web-1").lines[0] == "allowed: ops/prom to shop/web-1, TCP 80"


OUTSIDE = service("ext", type="ExternalName", externalName="db.example.com", selector=None)


@pytest.mark.parametrize(
    ("items", "asked", "words"),
    [
        ([FRONT], {"to": "shop/front", "port": "8080"}, "--to: Service shop/front (10.96.0.77) has no TCP port 8080"),
        ([FRONT], {"to": "shop/front", "protocol": "UDP"}, "has no UDP port 80"),
        ([FRONT], {"to": "shop/front", "protocol": "ICMP", "port": ""}, "write one of them for ICMP"),
        ([service(ports=None)], {"to": "shop/front"}, "has no TCP port 80; see its ports"),
        (
            [service(selector={"app": "x"})],
            {"to": "shop/front"},
            "leads nowhere: no pod that runs has the labels app=x",
        ),
        ([service(selector=None)], {"to": "shop/front"}, "has no selector"),
        ([service(ports=[{"port": 80, "targetPort": "x"}])], {"to": "shop/front"}, "no pod has a TCP port x"),
        ([OUTSIDE], {"to": "shop/ext"}, "stands for db.example.com, which is outside"),
        ([FRONT], {"source": "shop/front", "to": "ops/prom"}, "connects to nobody, pods do; write shop/web-1"),
        ([], {"to": "10.96.0.77"}, "10.96.0.77 is, usually, a Service's (10.96.0.0/12)"),
        ([node("n1", 1)], {"to": "10.244.1.99"}, "is of the pods of node n1, and no pod has it"),
        (
            [node("n1", 1), service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}])],
            {"to": "192.168.200.11", "port": "30080"},
            "leads to Service shop/front at port 30080",
        ),
        (
            [
                node("n1", 1),
                pod("b", "a", "10.244.1.7", containers=[{"ports": [{"containerPort": 1, "hostPort": 81}]}]),
            ],
            {"to": "n1", "port": "81"},
            "node n1 (192.168.200.11) leads to pod b/a at port 81; write that pod",
        ),
        ([service(externalIPs=["192.0.2.9"])], {"to": "192.0.2.9"}, "192.0.2.9 leads to Service shop/front"),
        (
            [{**service(), "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}, {"hostname": "x"}]}}}],
            {"to": "192.0.2.9"},
            "192.0.2.9 leads to Service shop/front",
        ),
        ([], {"to": "127.0.0.1"}, "127.0.0.1 is everybody's own, and no policy sees it"),
        ([], {"to": "224.0.0.1"}, "224.0.0.1 is not one host's"),
        ([], {"to": "2001:db8::1"}, "2001:db8::1 is an IPv6 address"),
        ([], {"to": "10.244.1.0/24"}, "10.244.1.0/24 is a network; write one address of it"),
        ([], {"to": "10.244.1.5:8080"}, "has a port; write 10.244.1.5, and the port as --port 8080"),
        ([], {"to": "pod/web-1"}, "pod/web-1 begins with a kind; write namespace/name"),
        ([], {"to": "deployments/web"}, "begins with a kind"),
        (
            [named("Pod", "six", "shop", status={"podIP": "fd00::9"})],
            {"to": "shop/six"},
            "pod shop/six has an IPv6 address alone",
        ),
    ],
)
def test_what_cannot_be_judged_is_not_allowed(items: list[dict[str, Any]], asked: dict[str, str], words: str) -> None:
    assert words in refused(*items, **asked)


def test_other_ports_of_a_node_are_its_own() -> None:
    port = service(type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    assert answer(node("n1", 1), port, to="n1", port="80").code == 0


KINDS = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"]


@pytest.mark.parametrize("kind", [*KINDS, "CronJob"])
def test_what_makes_pods_is_told_with_its_pods(kind: str) -> None:
    template: dict[str, Any] = {"template": {"metadata": {"labels": {"app": "web"}}}}
    spec = {"jobTemplate": {"spec": template}} if kind == "CronJob" else template
    found = {**named(kind, "web", "shop", spec=spec), "apiVersion": "apps/v1"}
    assert refused(found, to="shop/web").endswith("is no pod, and makes some; write one of its pods: shop/web-1")
    other = {**found, "metadata": {"name": "api", "namespace": "shop"}, "spec": {}}
    assert "(kubectl get pods -n shop -o yaml)" in refused(other, to="shop/api")


CALICO = "crd.projectcalico.org/v1"
OTHERS = [
    (CALICO, "GlobalNetworkPolicy", ""),
    (CALICO, "NetworkPolicy", "shop"),
    ("projectcalico.org/v3", "NetworkPolicy", "ops"),
    ("projectcalico.org/v3", "GlobalNetworkPolicy", ""),
    ("cilium.io/v2", "CiliumNetworkPolicy", "shop"),
    ("cilium.io/v2", "CiliumClusterwideNetworkPolicy", ""),
    ("cilium.io/v2", "ciliumnetworkpolicy", "shop"),
    ("policy.networking.k8s.io/v1alpha1", "AdminNetworkPolicy", ""),
    ("policy.networking.k8s.io/v1alpha1", "BaselineAdminNetworkPolicy", ""),
    ("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", ""),
    ("crd.antrea.io/v1beta1", "ClusterNetworkPolicy", ""),
    ("k8s.ovn.org/v1", "EgressFirewall", "shop"),
    ("security.istio.io/v1", "AuthorizationPolicy", "istio-system"),
]


@pytest.mark.parametrize(("version", "kind", "namespace"), OTHERS)
@pytest.mark.parametrize("policies", [[], [CLOSED]])
def test_policies_of_other_kinds_may_decide_too(
    version: str, kind: str, namespace: str, policies: list[dict[str, Any]]
) -> None:
    found = answer({**named(kind, "p", namespace), "apiVersion": version}, *policies, to="shop/web-1")
    assert found.code == 2
    word = "deny" if policies else "allow"
    assert found.lines[0] == f"not known: ops/prom to shop/web-1, TCP 80; NetworkPolicies that are known {word} it"
    assert any(line.startswith("note: ") and kind in line and "may decide too" in line for line in found.lines)


@pytest.mark.parametrize(
    ("version", "kind", "namespace"),
    [
        (CALICO, "NetworkPolicy", "elsewhere"),
        ("cilium.io/v2", "CiliumNetworkPolicy", "elsewhere"),
        ("projectcalico.org/v3", "StagedGlobalNetworkPolicy", ""),
        ("k8s.cni.cncf.io/v1beta1", "MultiNetworkPolicy", "shop"),
        ("serving.knative.dev/v1", "Service", "shop"),
        (CALICO, "Node", ""),
    ],
)
def test_those_that_cannot_decide_here_leave_the_answer(version: str, kind: str, namespace: str) -> None:
    assert answer({**named(kind, "p", namespace), "apiVersion": version}, to="shop/web-1").code == 0


def peers(*found: dict[str, Any]) -> dict[str, Any]:
    return named("NetworkPolicy", "p", "shop", spec={"ingress": [{"from": list(found)}]})


BY_NAME = {"namespaceSelector": {"matchLabels": {NAME_LABEL: "ops"}}}
BY_TEAM = {"namespaceSelector": {"matchLabels": {"team": "blue"}}}
NOT_TEAM = {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["blue"]}]}}
OPS = named("Namespace", "ops")


@pytest.mark.parametrize("items", [[OPS], []])
def test_each_namespace_has_its_name_as_a_label(items: list[dict[str, Any]]) -> None:
    found = answer(*items, peers(BY_NAME), to="shop/web-1")
    assert found.code == 0
    assert any("since 1.21" in line for line in found.lines)


def test_the_name_label_that_is_written_does_not_count() -> None:
    found = answer(labelled(OPS, **{NAME_LABEL: "other"}), peers(BY_NAME), to="shop/web-1")
    assert found.code == 0
    assert any(f"set its label {NAME_LABEL} to ops" in line for line in found.lines)


def test_a_namespace_as_an_older_server_stored_it_has_no_such_label() -> None:
    stored = {**OPS, "metadata": {"name": "ops", "uid": "1"}}
    found = answer(stored, peers(BY_NAME), to="shop/web-1")
    assert found.code == 1
    assert f"note: namespace ops: has no label {NAME_LABEL}, which API servers before 1.21 do not give" in found.lines
    live = read_cluster({"kind": "List", "apiVersion": "v1", "items": [*PODS, OPS, peers(BY_NAME)]})
    assert explain.explain(live, Question("ops/prom", "shop/web-1", "80", "TCP")).code == 1


@pytest.mark.parametrize(
    ("selectors", "code"),
    [([BY_TEAM], 2), ([NOT_TEAM], 2), ([BY_TEAM, BY_NAME], 0), ([{"namespaceSelector": {}}], 0), ([], 0)],
)
def test_labels_that_nobody_knows_leave_it_open(selectors: list[dict[str, Any]], code: int) -> None:
    assert answer(peers(*selectors), to="shop/web-1").code == code


def test_a_policy_without_a_namespace_is_told_where_it_is() -> None:
    found = answer(named("NetworkPolicy", "deny", spec={"podSelector": {}}), to="shop/web-1")
    (note,) = [line for line in found.lines if "names no namespace" in line]
    assert note.endswith("so it is read as one of default, and isolates no pod of ops, shop")


def test_a_policy_where_nobody_is_is_told() -> None:
    found = answer(named("NetworkPolicy", "deny", "shpo", spec={"podSelector": {}}), to="shop/web-1")
    assert found.lines[-1] == "note: namespace shpo: has policies, and neither its object nor a pod of it is known"


def test_a_pod_whose_node_is_not_known_may_be_on_that_node() -> None:
    nowhere = named("Pod", "nowhere", "shop", status={"podIP": "10.244.1.9"})
    assert answer(node("n1", 1), nowhere, CLOSED, source="n1", to="shop/nowhere").code == 2
    assert answer(node("n1", 1), nowhere, source="n1", to="shop/nowhere").code == 0


@pytest.mark.parametrize(("hairpin", "code"), [(None, 0), (True, 1), (False, 0)])
def test_calico_blocks_a_pod_that_reaches_itself_by_its_own_service(hairpin: bool | None, code: int) -> None:
    asked = Question("shop/web-1", "10.96.0.77", "80", "TCP")
    found = explain.explain(objects(FRONT, CLOSED), asked, Network(hairpin))
    assert found.code == code
    assert any("which Calico (Canal) blocks" in line for line in found.lines) == (hairpin is not False)
    itself = peers({"podSelector": {}})
    for items in ([FRONT], [FRONT, itself]):
        assert explain.explain(objects(*items), asked, Network(hairpin)).code == 0
    assert answer(CLOSED, source="shop/web-1", to="shop/web-1").code == 0


def test_a_network_that_enforces_nothing_is_told() -> None:
    asked = Question("ops/prom", "shop/web-1", "80", "TCP")
    found = explain.explain(objects(CLOSED), asked, Network(enforces=False))
    assert found.lines[-1].endswith("so that nothing is denied in fact")


def test_one_network_of_services_is_known_of_a_cluster() -> None:
    asked = Question("ops/prom", "10.1.0.9", "80", "TCP")
    network = Network(services=IPv4Network("10.1.0.0/16"))
    with pytest.raises(UserError, match=r"10\.1\.0\.9 is a Service's"):
        explain.explain(objects(), asked, network)
    assert explain.explain(objects(), asked).code == 0


@pytest.mark.parametrize("network", ["podnet", "canal"])
def test_policies_of_calico_are_asked_for_where_they_are(
    network: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    host = Host("control-1", parse(SETTINGS).node_network[11], "control-plane")
    loaded = LoadedInventory(
        Path("x.py"), Cluster(parse({**SETTINGS, "cni": network}), (host,)), {"control-1": SshAccess("control-1")}
    )
    asked: list[str] = []

    def capture(_: LoadedInventory, words: Sequence[str]) -> str:
        asked.extend(words)
        return json.dumps({"kind": "List", "apiVersion": "v1", "items": PODS})

    monkeypatch.setattr(remote_kubectl, "capture", capture)
    assert (
        explain.run(lambda: loaded, source="ops/prom", destination="shop/web-1", port="80", protocol="TCP", files=[])
        == 0
    )
    assert ("globalnetworkpolicies.crd.projectcalico.org" in asked[1]) == (network == "canal")


def test_what_can_be_said_is_said_beside_what_cannot_be_read(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("\n---\n".join(map(json.dumps, [*PODS, CLOSED])) + "\n---\na: [\n---\nkind: Pod\n")
    with pytest.raises(UserError) as raised:
        explain.run(None, source="ops/prom", destination="shop/web-1", port="80", protocol="TCP", files=[file])
    unread, odd, rest = raised.value.problems
    assert "is no YAML" in unread
    assert "apiVersion: is missing" in odd
    assert rest == ("without what cannot be read: denied: ops/prom to shop/web-1, TCP 80; correct that, and ask again")


WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(
        ["ops/prom", "shop/web-1", "shop/front", "10.96.0.77", "n1", "shop/front.svc", "a.b.svc", "1.2.3.4/8"]
    ),
)


@settings(max_examples=200, deadline=None)
@given(WORDS, WORDS, st.one_of(st.text(max_size=4), st.sampled_from(["80", "web", "٣", "²"])), st.sampled_from("TX"))
def test_no_words_end_in_an_exception(source: str, to: str, port: str, protocol: str) -> None:
    asked = Question(source.strip(), to.strip(), port.strip(), "TCP" if protocol == "T" else "ICMP")
    try:
        lines: Sequence[str] = explain.explain(objects(node("n1", 1), FRONT, CLOSED), asked).lines
    except UserError as error:
        lines = error.problems
    assert lines
    assert all(line.isprintable() for line in lines)
