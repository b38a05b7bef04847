"""Manifests that are not what is known are refused by the name of what they lack, never half patched."""

import copy
import json
from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.cni import api, documents, patching, plugins
from kubeproof.cni.patching import Wishes
from kubeproof.cni.plan import build
from kubeproof.errors import UserError
from tests.unit.cni import made_up
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
"""Other than the smallest one in what patching replaces."""


def objects(text: str) -> list[dict[str, Any]]:
    return documents.load(text, "it")


def refused(text: str, **more: Any) -> str:
    project = "canal" if "canal" in text else "flannel"
    given_objects = objects(text)
    before = copy.deepcopy(given_objects)
    with pytest.raises(UserError) as error:
        patching.patch(given_objects, Wishes(project, PODS, **more), "it")
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
        ("args: [--ip-masq, --iface=eth0], ", "", "has no args in container kube-flannel"),
        ('"type": "flannel"', '"type": "bridge"', "has no plugin of type flannel in cni-conf.json"),
        ("data:\n", "other:\n", "has no data in ConfigMap kube-flannel-cfg"),
        ("spec:\n  template:", "spec:\n  templates:", "is built in another way than a manifest of flannel"),
    ],
)
def test_flannel(old: str, new: str, missing: str) -> None:
    assert missing in refused(without(FLANNEL, old, new), interface="eth1", mtu=1400)


@pytest.mark.parametrize(
    ("old", "new", "missing"),
    [
        ("name: calico-node", "name: felix", "has no container calico-node in DaemonSet canal"),
        ("canal_iface", "iface", "has no canal_iface in ConfigMap canal-config"),
        ("veth_mtu", "mtu", "has no veth_mtu in ConfigMap canal-config"),
        ("net-conf.json", "network.json", "has no key net-conf.json in ConfigMap canal-config"),
    ],
)
def test_canal(old: str, new: str, missing: str) -> None:
    assert missing in refused(without(made_up.CANAL, old, new), interface="eth1", mtu=1400)


def test_two_of_a_name() -> None:
    assert "has more than one ConfigMap" in refused(f"{FLANNEL}\n---\n{FLANNEL.split('---')[0]}")


def test_what_is_there_already_is_replaced() -> None:
    config, workload = patching.patch(objects(FLANNEL), Wishes("flannel", PODS, interface="eth1"), "it")
    assert json.loads(config["data"]["net-conf.json"])["Backend"] == {"Type": "vxlan", "Port": 8472}
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--ip-masq", "--iface=eth1"]
    canal = without(made_up.CANAL, 'name: IP, value: ""', "name: CALICO_IPV4POOL_CIDR, value: 192.168.0.0/16")
    *_, workload = patching.patch(objects(canal), Wishes("canal", PODS), "it")
    felix = workload["spec"]["template"]["spec"]["containers"][0]
    assert felix["env"] == [{"name": "CALICO_IPV4POOL_CIDR", "value": "10.9.0.0/16"}]


def test_host_gw_has_no_port() -> None:
    config, _ = patching.patch(objects(FLANNEL), Wishes("flannel", PODS, backend="host-gw"), "it")
    assert json.loads(config["data"]["net-conf.json"])["Backend"] == {"Type": "host-gw"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "is no YAML"),
        ("", "holds no object"),
        ("---\n---\n", "holds no object"),
        ("just text", "document 1: is no object of Kubernetes"),
        ("<html><body>404: Not Found</body></html>", "is no object of Kubernetes"),
        ("apiVersion: v1\nkind: List", "holds no object"),
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
        ("1e3", 1000.0),
        ("0.5", 0.5),
        ('"1e3"', "1e3"),
        ('"y"', "y"),
        ('"null"', "null"),
        ("~", None),
        ("08", "08"),
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
        st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
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
        "cni_manifest: it: Pool p is example.net/v2, which Kubernetes 1.20 does not serve",
        "cni_manifest: it: Lake p is example.net/v2, which Kubernetes 1.20 does not serve",
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
        plugins.needed_of_host(objects(text), "flannel", "it")


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
