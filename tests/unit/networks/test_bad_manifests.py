"""Manifests that are not what is known are refused by the name of what they lack, never half patched."""

import copy
import json
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.config.settings import Settings
from kubeproof.networks import api, documents, plugins
from kubeproof.networks.manifest import Manifest
from kubeproof.networks.plan import build
from kubeproof.networks.registry import NETWORKS
from kubeproof.terminal.errors import UserError
from tests.unit.networks import made_up
from tests.unit.node.example import cluster

PODS = IPv4Network("10.9.0.0/16")
FLANNEL = """
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-flannel-cfg, namespace: kube-flannel}
data:
  cni-conf.json: '{"plugins": [{"type": "flannel", "delegate": {}}, {"type": "portmap"}]}'
  net-conf.json: |
    {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan", "Port": 8473}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-flannel-ds, namespace: kube-flannel}
spec:
  template:
    spec:
      containers:
      - {name: kube-flannel, image: 'ghcr.io/flannel-io/flannel:v1', args: [--ip-masq, --iface=eth0], env: []}
      volumes:
      - {name: cfg, configMap: {name: kube-flannel-cfg, defaultMode: 0644}}
"""
"""Other than the smallest one in what fitting replaces."""


def objects(text: str) -> list[dict[str, Any]]:
    return documents.load(text, "it")


def fitted(cni: str, given_objects: list[dict[str, Any]], **settings: Any) -> list[dict[str, Any]]:
    """The objects as a manifest of the network is fitted; without settings it stays the manifest's own choice."""
    return manifest(cni).patch(given_objects, *wanted(cni, **settings), "it")


def manifest(cni: str) -> Manifest:
    found = NETWORKS[cni].manifest
    assert found
    return found


def wanted(cni: str, **settings: Any) -> tuple[Settings, int | None]:
    found = cluster(**{"cni": cni, "pod_cidr": PODS, "cni_interface": "", **settings}).settings
    return found, found.cni_mtu


def refused(text: str, **more: Any) -> str:
    project = "canal" if "canal" in text else "flannel"
    given_objects = objects(text)
    before = copy.deepcopy(given_objects)
    with pytest.raises(UserError) as error:
        fitted(project, given_objects, **more)
    assert given_objects == before
    (line,) = error.value.problems
    assert "\n" not in line
    return line


def without(text: str, old: str, new: str = "") -> str:
    assert old in text
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ("net-conf.json", "network.json", "has no key net-conf.json in ConfigMap kube-flannel-cfg"),
        ("name: kube-flannel-cfg, namespace", "name: other, namespace", "has no ConfigMap kube-flannel-cfg"),
        ("name: kube-flannel-ds", "name: other", "has no DaemonSet kube-flannel-ds"),
        ("{name: kube-flannel,", "{name: flanneld,", "has no container kube-flannel in DaemonSet kube-flannel-ds"),
        ('"Network"', '"network"', "has no Network and Backend.Type in net-conf.json"),
        ('"Type": "vxlan", ', "", "has no Network and Backend.Type in net-conf.json"),
        ('"Port": 8473}}', '"Port": 8473}', "has a net-conf.json that is no JSON"),
        (
            "--iface=eth0]",
            "'exec flanneld --iface=eth0']",
            "starts flanneld by a text for a shell that says where it is",
        ),
        ("--iface=eth0]", '"flanneld\\n--iface eth0"]', "starts flanneld by a text for a shell that says where it is"),
        ('"Backend": {', '"Backend": {"DirectRouting": true, ', "has DirectRouting in net-conf.json, with which"),
        ('"Backend": {', '"EnableIPv6": true, "Backend": {', "has EnableIPv6 in net-conf.json, and these"),
        ('"Backend": {', '"EnableNFTables": true, "Backend": {', "has EnableNFTables in net-conf.json, and the proof"),
        ('"Port": 8473}}', '"Port": 8473,}}', "has a net-conf.json that is no JSON"),
        ('"type": "flannel"', '"type": "bridge"', "has no plugin of type flannel in cni-conf.json"),
        ("data:\n", "other:\n", "has no data in ConfigMap kube-flannel-cfg"),
        ("spec:\n  template:", "spec:\n  templates:", "is built in another way than a manifest of flannel"),
    ],
)
def test_flannel(old: str, new: str, missing: str) -> None:
    assert missing in refused(without(FLANNEL, old, new), cni_interface="eth1", cni_mtu=1400)


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ("name: calico-node", "name: felix", "has no container calico-node in DaemonSet canal"),
        ("veth_mtu", "mtu", "has no veth_mtu in ConfigMap canal-config"),
        ("net-conf.json", "network.json", "has no key net-conf.json in ConfigMap canal-config"),
    ],
)
def test_canal(old: str, new: str, missing: str) -> None:
    assert missing in refused(without(made_up.CANAL, old, new), cni_interface="eth1", cni_mtu=1400)


def test_two_of_a_name() -> None:
    assert "has more than one ConfigMap" in refused(f"{FLANNEL}\n---\n{FLANNEL.split('---')[0]}")


def test_what_is_there_already_is_replaced() -> None:
    config, workload = fitted("flannel", objects(FLANNEL), cni_interface="eth1")
    assert json.loads(config["data"]["net-conf.json"])["Backend"] == {"Type": "vxlan", "Port": 8472}
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert (container["args"], container["env"]) == (["--ip-masq"], [{"name": "FLANNELD_IFACE", "value": "eth1"}])
    canal = without(made_up.CANAL, 'name: IP, value: ""', "name: CALICO_IPV4POOL_CIDR, value: 192.168.0.0/16")
    *_, workload = fitted("canal", objects(canal))
    felix = workload["spec"]["template"]["spec"]["containers"][0]
    assert felix["env"] == [{"name": "CALICO_IPV4POOL_CIDR", "value": "10.9.0.0/16"}]


def test_host_gw_has_no_port() -> None:
    config, _ = fitted("flannel", objects(FLANNEL), cni_backend="host-gw")
    assert json.loads(config["data"]["net-conf.json"])["Backend"] == {"Type": "host-gw"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is no YAML"),
        ("", "has no object in it"),
        ("---\n---\n", "has no object in it"),
        ("just text", "document 1: is no object of Kubernetes"),
        ("<html><body>404: Not Found</body></html>", "is no object of Kubernetes"),
        ("apiVersion: v1\nkind: List", "holds no object"),
        ("apiVersion: v1\nkind: List\nitems: 7", "has an object without apiVersion, kind or name"),
        ("[" * 3000, "is nested deeper than 100 levels"),
        ("kind: ConfigMap\nmetadata: {name: a}", "has an object without apiVersion, kind or name"),
        ("apiVersion: v1\nkind: List\nitems: [{kind: ConfigMap}]", "has an object without apiVersion, kind or name"),
    ],
)
def test_no_manifest(text: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        documents.load(text, "it")
    (line,) = error.value.problems
    assert said in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"true"', "true"),
        ("true", True),
        ("0644", 0o644),
        ("0o644", 0o644),
        ("420", 420),
        ("-7", -7),
        ("0x1f", 31),
        ('"0644"', "0644"),
        ("1:30", "1:30"),
        ("2024-01-02", "2024-01-02"),
        ("1e3", 1000),
        ("0.5", 0.5),
        ('"1e3"', "1e3"),
        ('"y"', "y"),
        ('"null"', "null"),
        ("~", None),
        ("08", 8),
        ("'a: b'", "a: b"),
        ('"{\\n  \\"a\\": 1\\n}\\n"', '{\n  "a": 1\n}\n'),
    ],
)
def test_scalars_keep_value_and_type(written: str, value: object) -> None:
    text = f"apiVersion: v1\nkind: X\nmetadata: {{name: a}}\nvalue: {written}\n"
    for source in (text, documents.dump(objects(text))):
        found = objects(source)[0]["value"]
        assert (found, type(found)) == (value, type(value))


def test_what_two_readers_could_take_for_something_else_is_in_quotes() -> None:
    written = documents.dump([{"a": value} for value in ("y", "No", "1e3", "0644", "null", "-", "", "1:30", "=", "<<")])
    lines = [line for line in written.splitlines() if line != "---"]
    assert all(line.endswith('"') for line in lines), lines


def test_json_within_stays_readable() -> None:
    assert "net-conf.json: |\n" in documents.dump(objects(FLANNEL))


@settings(deadline=None)  # on a busy machine one may take longer
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_whatever_is_written_is_read_again(value: object) -> None:
    item = {"apiVersion": "v1", "kind": "X", "metadata": {"name": "a"}, "value": value}
    assert objects(documents.dump([item])) == [item]


def test_unknown_kinds_are_refused_and_those_that_the_manifest_defines_are_not() -> None:
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "pools.example.net"},
        "spec": {"group": "example.net", "names": {"kind": "Pool"}, "versions": [{"name": "v1"}]},
    }
    own = {"apiVersion": "example.net/v1", "kind": "Pool", "metadata": {"name": "p"}}
    other = {"apiVersion": "example.net/v2", "kind": "Pool", "metadata": {"name": "p"}}
    assert api.adapt([definition, own], "1.20", "it").objects == (definition, own)
    with pytest.raises(UserError) as error:
        api.adapt([definition, own, other, {**other, "kind": "Lake"}], "1.20", "it")
    assert [line.split(";")[0] for line in error.value.problems] == [
        f"cni_manifest: it: {kind} p is example.net/v2, which is not known here, and which nothing in the manifest "
        "defines"
        for kind in ("Pool", "Lake")
    ]


@pytest.mark.parametrize(
    ("version", "kind", "minor"),
    [
        ("batch/v1", "Job", "1.20"),
        ("v1", "ResourceQuota", "1.20"),
        ("v1", "LimitRange", "1.36"),
        ("apps/v1", "StatefulSet", "1.28"),
        ("coordination.k8s.io/v1", "Lease", "1.20"),
        ("batch/v1", "CronJob", "1.21"),
        ("storage.k8s.io/v1", "StorageClass", "1.20"),
        ("autoscaling/v1", "HorizontalPodAutoscaler", "1.30"),
    ],
)
def test_kinds_that_kubernetes_serves(version: str, kind: str, minor: str) -> None:
    item = {"apiVersion": version, "kind": kind, "metadata": {"name": "a"}}
    assert api.adapt([item], minor, "it").objects == (item,)


@pytest.mark.parametrize(("version", "kind"), [("batch/v1", "CronJob"), ("autoscaling/v2", "HorizontalPodAutoscaler")])
def test_kinds_that_kubernetes_serves_only_later(version: str, kind: str) -> None:
    with pytest.raises(UserError, match=r"which Kubernetes 1\.20 does not serve"):
        api.adapt([{"apiVersion": version, "kind": kind, "metadata": {"name": "a"}}], "1.20", "it")


def test_versions_that_went_and_have_the_same_fields() -> None:
    role = {"apiVersion": "rbac.authorization.k8s.io/v1beta1", "kind": "ClusterRole", "metadata": {"name": "a"}}
    (found,) = api.adapt([role], "1.28", "it").objects
    assert found == {**role, "apiVersion": "rbac.authorization.k8s.io/v1"}


def test_lists_are_taken_apart() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMapList, items: [{metadata: {name: a}}]}"
    assert objects(text) == [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}]


def effective(container: dict[str, Any]) -> tuple[list[str], list[object]]:
    """What flanneld is told: its options that say where it is as Go reads them, and such variables, the last wins."""
    words, found = [*(container.get("command") or []), *(container.get("args") or [])], []
    for position, word in enumerate(words):
        name, equals, value = word.lstrip("-").partition("=")
        if word.startswith("-") and name in ("iface", "iface-regex", "iface-can-reach", "public-ip"):
            found.append(value if equals else words[position + 1])
    places = ("FLANNELD_IFACE", "FLANNELD_IFACE_REGEX", "FLANNELD_IFACE_CAN_REACH", "FLANNELD_PUBLIC_IP")
    variables = [item for item in container.get("env") or [] if item["name"] in places]
    return found, [item.get("value") or item["valueFrom"] for item in variables]


PLACES = [
    {"args": ["--ip-masq", "--iface=eth1"]},
    {"args": ["--iface", "eth1", "--ip-masq"]},
    {"args": ["-iface", "eth1"]},
    {"args": ["-iface=eth1", "--iface=eth2", "--iface", "eth3"]},
    {"args": ["--iface-regex=^eth"]},
    {"args": ["--iface-can-reach", "192.0.2.1"]},
    {"args": ["--public-ip=192.0.2.1"]},
    {"command": ["/opt/bin/flanneld", "--iface=eth1"]},
    {"command": ["/opt/bin/flanneld", "--iface"], "args": ["eth1"]},
    {"command": ["sh", "-c", "exec /opt/bin/flanneld --ip-masq"]},
    {"env": [{"name": "FLANNELD_IFACE", "value": "eth1"}, {"name": "FLANNELD_IFACE", "value": "eth2"}]},
    {"env": [{"name": "FLANNELD_IFACE_REGEX", "value": "eth.*"}, {"name": "FLANNELD_PUBLIC_IP", "value": "192.0.2.1"}]},
    {"env": None, "args": None},
    {},
]


@pytest.mark.parametrize("project", ["flannel", "canal"])
@pytest.mark.parametrize("place", PLACES, ids=str)
def test_the_interface_is_the_one_that_is_set(project: str, place: dict[str, Any]) -> None:
    given_objects = objects(made_up.FLANNEL if project == "flannel" else made_up.CANAL)
    spec = given_objects[-1]["spec"]["template"]["spec"]
    spec["containers"][-1].update(copy.deepcopy(place))
    address = {"fieldRef": {"fieldPath": "status.hostIP"}}
    for wish in ("node-address", "eth7"):
        *_, workload = fitted(project, given_objects, cni_interface=wish)
        found = effective(workload["spec"]["template"]["spec"]["containers"][-1])
        assert found == ([], [address if wish == "node-address" else "eth7"])
    # Without a wish it stays the manifest's own choice.
    *_, workload = fitted(project, given_objects)
    assert workload["spec"]["template"]["spec"]["containers"][-1].get("args") == spec["containers"][-1].get("args")


def test_what_is_overruled_is_told() -> None:
    text = without(FLANNEL, '"vxlan"', '"wireguard"')
    assert manifest("flannel").left_out(objects(text), wanted("flannel", cni_interface="eth1")[0]) == [
        "Backend.Type wireguard becomes vxlan (cni_backend)",
        "flanneld's --iface=eth0 is left out (cni_interface is eth1)",
    ]


def test_a_budget_that_would_mean_something_else_is_refused() -> None:
    budget = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "b"},
        "spec": {"selector": {}},
    }
    with pytest.raises(UserError, match=r"PodDisruptionBudget b is policy/v1, which Kubernetes 1.20 does not serve"):
        api.adapt([budget], "1.20", "it")


def test_no_cni_configuration() -> None:
    text = without(FLANNEL, '"type": "portmap"', '"kind": "portmap"')
    with pytest.raises(UserError, match="has no CNI configuration that can be read"):
        plugins.needed_of_host(objects(text), manifest("flannel"), "it")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("      containers:\n", "      cases:\n"),
        ("kind: Namespace", "kind: CustomResourceDefinition"),
        ("      volumes:\n      - {name: cni-plugin, hostPath: {path: /opt/cni/bin}}", "      volumes: [7]"),
        ("ports: [{containerPort: 8081}]", "ports: [{port: 8081}]"),
    ],
)
def test_objects_that_are_none_of_kubernetes(old: str, new: str) -> None:
    with pytest.raises(UserError) as error:
        build(without(made_up.FLANNEL, old, new), cluster(cni="flannel").settings, "it")
    for line in error.value.problems:
        assert line.startswith("cni_manifest: it")
        assert "\n" not in line
