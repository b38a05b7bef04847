"""A node's state out of the outputs of its script."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from kubeproof.network.hostfiles import Identity, Kubelet
from kubeproof.network.iptables import Ruleset
from kubeproof.network.model import Namespace
from kubeproof.network.policies import PoliciesInForce
from kubeproof.proof.containers import CONTAINERD, DOCKER, TOOLS
from kubeproof.proof.node_script import commands, parse_state
from kubeproof.proof.script import Output
from tests.unit.proof import good

ABOUT = {
    "id": "c0ffee",
    "network_mode": "none",
    "pid": 4242,
    "labels": {"type": "podsandbox", "name": "POD", "pod": "web-1", "namespace": "default", "uid": "u1"},
}
INSIDE = {
    "links": [{"ifindex": 2, "ifname": "eth0", "flags": ["UP"], "mtu": 1450, "operstate": "UP", "address": "02::1"}],
    "addresses": [{"ifname": "eth0", "addr_info": [{"family": "inet", "local": "10.98.1.2", "prefixlen": 24}]}],
    "routes": [{"dst": "default", "gateway": "10.98.1.1", "dev": "eth0", "flags": []}],
    "neighbours": [],
}
SUBNET_ENV = "FLANNEL_NETWORK=10.98.0.0/16\nFLANNEL_SUBNET=10.98.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"


def outputs(**changes: Output) -> dict[str, Output]:
    plain = {
        "links": "[]",
        "addresses": "[]",
        "routes": "[]",
        "neighbours": "[]",
        "fdb": "[]",
        "iptables": good.RULES.replace("SUBNET", "10.98.1.0/24"),
        "other_iptables": "",
        "subnet_env": SUBNET_ENV,
        "sysctls": "net.ipv4.ip_forward = 1\n",
        "swaps": "Filename\tType\n",
        "containers": json.dumps({"netns": "net:[7]", "about": ABOUT, "network": INSIDE}) + "\n",
        "policies": '{"enforced": true, "policies": {"default/deny": "17"}}',
        "nft_tables": "table inet podnet\n",
        "cni_files": "10-podnet.conflist\ncalico-kubeconfig\n",
        "identity": "hostname=node-b\nmachine_id=4711\nproduct_uuid=ABC\ncontainer=\n",
        "clock": "1800000000.123456789\n",
        "kubelet": "state=active\nhealth=ok\n",
        "control_plane": 'etcd={"health":"true"}\nkube-scheduler=ok\nnot a line\n',
    }
    assert plain.keys() == commands(DOCKER).keys()
    return {name: Output(0, text, "") for name, text in plain.items()} | changes


def test_every_part_is_filled() -> None:
    state = parse_state("node-b", outputs())
    assert state.unreadable == {}
    assert state.iptables == good.rules("node-b")
    assert state.other_iptables == Ruleset()
    assert state.sysctls == {"net.ipv4.ip_forward": "1"}
    assert state.policies == PoliciesInForce(True, {"default/deny": "17"})
    assert state.nft_tables == ("inet podnet",)
    assert state.cni_files == ("10-podnet.conflist", "calico-kubeconfig")
    assert state.identity == Identity("node-b", "4711", "abc", "")
    assert state.clock == pytest.approx(1800000000.123456789)
    assert state.kubelet == Kubelet("active", "ok")
    assert state.control_plane == {"etcd": '{"health":"true"}', "kube-scheduler": "ok"}
    pause = state.sandbox("default/web-1")
    assert pause is not None
    assert (pause.pid, pause.netns, pause.network_mode, pause.is_sandbox) == (4242, "net:[7]", "none", True)
    assert pause.network is not None
    assert str(pause.network.addresses[0]) == "10.98.1.2/24"
    assert str(pause.network.routes[0]) == "0.0.0.0/0 via 10.98.1.1 dev eth0"


def test_what_fails_or_cannot_be_parsed_is_unreadable_and_the_rest_is_there() -> None:
    state = parse_state(
        "node-b",
        outputs(
            routes=Output(0, "{", ""),
            fdb=Output(127, "", "sh: 1: bridge: not found\n"),
            subnet_env=Output(1, "", "cat: /run/flannel/subnet.env: No such file or directory\n"),
            containers=Output(0, '{"netns": "net:[7]"}\n', ""),
            other_iptables=Output(0, "*nat\n", ""),
            identity=Output(0, "hostname=\n", ""),
            clock=Output(0, "Sat\n", ""),
        ),
    )
    assert state.unreadable.keys() == {
        *("network", "fdb", "subnet_env", "containers", "iptables", "identity", "clock"),
    }
    assert state.unreadable["fdb"] == "fdb: exit code 127: sh: 1: bridge: not found"
    assert "No such file or directory" in state.unreadable["subnet_env"]
    assert "docker: line 1.about.id: is missing" in state.unreadable["containers"]
    assert state.network == Namespace()
    assert state.sysctls == {"net.ipv4.ip_forward": "1"}


def test_the_commands_are_shell_that_a_shell_takes() -> None:
    for tool in TOOLS.values():
        for text in commands(tool).values():
            subprocess.run(["sh", "-n", "-c", text], check=True)


def info(kind: str, **more: object) -> dict[str, object]:
    """What `ctr containers info` prints, as far as it matters."""
    labels = {
        "io.cri-containerd.kind": kind,
        "io.kubernetes.pod.name": "web-1",
        "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": "u1",
        **({"io.kubernetes.container.name": "web"} if kind == "container" else {}),
    }
    return {"ID": f"{kind}-1", "Labels": labels, "Spec": more}


OWN_NAMESPACE = {"namespaces": [{"type": "pid"}, {"type": "network", "path": "/var/run/netns/cni-1"}]}
HOSTS_NAMESPACE = {"namespaces": [{"type": "pid"}]}


def test_containers_of_containerd_are_told_in_the_same_words() -> None:
    web = info("container", annotations={"io.kubernetes.cri.sandbox-id": "sandbox-1"})
    lines = [
        {"netns": "net:[7]", "about": {"pid": 4242, "info": info("sandbox", linux=OWN_NAMESPACE)}, "network": INSIDE},
        {"netns": "net:[7]", "about": {"pid": 4243, "info": web}},
        {"netns": "net:[1]", "about": {"pid": 99, "info": info("sandbox", linux=HOSTS_NAMESPACE)}},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    state = parse_state("node-b", outputs(containers=Output(0, text, "")), CONTAINERD)
    assert state.unreadable == {}
    pause, inside, of_host = state.containers
    assert (pause.id, pause.pid, pause.is_sandbox, pause.network_mode) == ("sandbox-1", 4242, True, "none")
    assert (pause.pod, pause.name) == ("default/web-1", "POD")
    assert pause.network is not None
    assert (inside.name, inside.is_sandbox, inside.network_mode) == ("web", False, "container:sandbox-1")
    assert of_host.network_mode == "host"


FAKE_CTR = """#!/bin/sh
case "$*" in
  *"tasks list") printf 'TASK PID STATUS\\n%s %s RUNNING\\ngone 1 STOPPED\\n' "sandbox-1" "$PID" ;;
  *"containers info sandbox-1") cat "$INFO" ;;
  *) exit 1 ;;
esac
"""


def test_the_script_of_containerd_prints_lines_that_are_read(tmp_path: Path) -> None:
    """With a client that answers as containerd's does, indented, and a process of this machine in the pause's place."""
    (tmp_path / "ctr").write_text(FAKE_CTR)
    (tmp_path / "ctr").chmod(0o755)
    (tmp_path / "info").write_text(json.dumps(info("sandbox", linux=HOSTS_NAMESPACE), indent=4))
    namespace = str(Path("/proc/self/ns/net").readlink())
    done = subprocess.run(
        ["sh", "-c", CONTAINERD.script],
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "PID": str(os.getpid()),
            "INFO": f"{tmp_path}/info",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    (container,) = parse_state("node-b", outputs(containers=Output(0, done.stdout, "")), CONTAINERD).containers
    assert (container.pid, container.netns, container.network_mode) == (os.getpid(), namespace, "host")


def test_tools_enter_containers() -> None:
    assert DOCKER.inside("c1", "echo 'a'") == """docker exec c1 sh -c 'echo '"'"'a'"'"''"""
    assert CONTAINERD.inside("c1", "true") == ("ctr --namespace k8s.io tasks exec --exec-id kubeproof-$$ c1 sh -c true")
    assert [tool.called for tool in (DOCKER, CONTAINERD)] == ["docker exec", "ctr tasks exec"]
