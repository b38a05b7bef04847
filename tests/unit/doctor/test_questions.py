"""What nodes are asked, and what is made of their answers."""

import base64
import subprocess
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from kubeproof.doctor.evidence import Paused, Token
from kubeproof.doctor.questions import control_plane_of, host_of, questions
from kubeproof.networks import flannel, podnet
from kubeproof.proof.script import TIMED_OUT, Output
from tests.unit.proof import good

CONF = "/proc/sys/net/ipv4/conf"


def output(text: str, code: int = 0) -> Output:
    return Output(code, text, "")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_every_question_is_shell_that_a_shell_takes() -> None:
    for cni in ("podnet", "flannel", "canal"):
        for runtime in ("docker", "containerd"):
            asked = questions(good.loaded(cni=cni, container_runtime=runtime), nonce="abcd1234")
            assert list(asked) == list(good.NAMES)
            only = asked["node-a"].keys() - asked["node-b"].keys()
            assert only == {"tokens", "controller", "network", "events", "workloads"}
            for text in (text for commands in asked.values() for text in commands.values()):
                subprocess.run(["sh", "-n", "-c", text], check=True)


def test_nobody_is_asked_for_the_secret_of_a_token() -> None:
    asked = questions(good.loaded(), nonce="abcd1234")
    assert not any("token-secret" in text for commands in asked.values() for text in commands.values())


def test_a_nodes_answers() -> None:
    host = host_of(
        {
            "kubelet_words": output(
                "F0101 12:00:00.000000 1 server.go:274] failed to run Kubelet: running with swap on\n"
            ),
            "cgroups": output("kubelet systemd\nruntime cgroupfs\n"),
            "joining": output("joined\nnode-ip 10.99.0.12\ntoken abcdef\ntoken abcdef\n"),
            "firewalld": output("running\n"),
            "packets": output(""),
            "runtime": output("inactive\n"),
            "paused": output("abc123 etcd kube-system/etcd-a\n"),
            "last_lines": output(
                'etcd={"log":"no space left\\n","stream":"stderr"}\ncoredns=2026 stderr F plugin/loop\n'
            ),
            "manifests": output("etcd.yaml\nkube-apiserver.yaml\n"),
            "filters": output(""),
            "ip_rules": output(
                '[{"priority":0,"src":"all","table":"local"},{"priority":7,"src":"all","fwmark":"0x1"}]'
            ),
            "shaped": output('[{"kind":"noqueue","dev":"lo"},{"kind":"netem","dev":"eth9","root":true}]'),
            "forwarding": output(f"{CONF}/flannel.1/forwarding:0\n{CONF}/lo/forwarding:1\n"),
        },
        nonce="abcd1234",
    )
    assert host.unreadable == {}
    assert host.kubelet_words == "failed to run Kubelet: running with swap on"
    assert (host.kubelet_driver, host.runtime_driver) == ("systemd", "cgroupfs")
    assert (host.joined, host.node_ip, host.token_ids) == (True, "10.99.0.12", ("abcdef",))
    assert host.firewalld
    assert (host.runtime, host.manifests) == ("inactive", ("etcd", "kube-apiserver"))
    assert host.paused == (Paused("abc123", "etcd", "kube-system/etcd-a"),)
    assert host.last_lines == {"etcd": "no space left", "coredns": "plugin/loop"}
    assert [rule.removal for rule in host.ip_rules] == ["ip rule del pref 7 fwmark 0x1"]
    assert (host.shaped, host.not_forwarding) == ((("eth9", "netem"),), ("flannel.1",))


def test_what_a_node_does_not_answer_is_said_and_assumed_of_nobody() -> None:
    host = host_of({"packets": output("", TIMED_OUT), "joining": output("", 1)}, nonce="abcd1234")
    assert host.unreadable["packets"] == "it took too long"
    assert host.unreadable["cgroups"] == "was not asked"
    assert host.joined
    assert host.kubelet_driver == ""


def test_the_control_planes_answers() -> None:
    plane = control_plane_of(
        {
            "tokens": output(f"{encoded('abcdef')} {encoded('2026-01-01T12:00:00Z')}\n{encoded('012345')} \n"),
            "controller": output("--allocate-node-cidrs=true\n--cluster-cidr=10.98.0.0/16\n"),
            "network": output("NODE_NAME=\nPOD_CIDR=10.98.0.0/16\nNETWORK_POLICY=off\n"),
            "events": output("kube-system/x=Old: first\nkube-system/x=FailedMount: a=b is no directory\n"),
            "workloads": output("Deployment/kube-system/coredns=0\nDaemonSet/kube-system/kube-proxy=3\nno line\n"),
        },
        podnet.NETWORK,
    )
    assert plane.unreadable == {}
    assert plane.tokens == (Token("abcdef", datetime(2026, 1, 1, 12, tzinfo=UTC)), Token("012345", None))
    assert plane.controller_flags == {"allocate-node-cidrs": "true", "cluster-cidr": "10.98.0.0/16"}
    assert plane.events == {"kube-system/x": "FailedMount: a=b is no directory"}
    assert plane.workloads == {"Deployment/kube-system/coredns": 0, "DaemonSet/kube-system/kube-proxy": 3}
    assert (plane.network_cidrs, plane.network_policy) == (("10.98.0.0/16",), "off")


def test_net_conf_of_flannel_and_what_cannot_be_read() -> None:
    plane = control_plane_of(
        {"network": output('{ "Network": "10.9.0.0/16", "Backend": {} }'), "tokens": output("!! !!\n")},
        flannel.NETWORK,
    )
    assert plane.network_cidrs == ("10.9.0.0/16",)
    assert "tokens" in plane.unreadable
    assert plane.unreadable["controller"] == "was not asked"
    last = " ".join(encoded(text) for text in ("abcdef", "0001-01-01T00:00:00+23:00"))
    assert "tokens" in control_plane_of({"tokens": output(last)}, flannel.NETWORK).unreadable


def test_that_there_are_no_flags_is_a_fact() -> None:
    plane = control_plane_of({"controller": output("", 1)}, podnet.NETWORK)
    assert (plane.controller_flags, "controller" in plane.unreadable) == ({}, False)
    assert "controller" in control_plane_of({"controller": output("", 2)}, podnet.NETWORK).unreadable


def test_of_two_families_ipv4_is_taken() -> None:
    flags = output("--cluster-cidr=fd00::/48,10.98.0.0/16\n--allocate-node-cidrs=true\n")
    assert control_plane_of({"controller": flags}, podnet.NETWORK).controller_flags["cluster-cidr"] == "10.98.0.0/16"
    host = host_of({"joining": output("node-ip 10.99.0.12,fd00::12\n")}, nonce="abcd1234")
    assert host.node_ip == "10.99.0.12"


def test_a_firewalld_that_does_not_run_is_not_running() -> None:
    assert not host_of({"firewalld": output("not running\n")}, nonce="abcd1234").firewalld


@given(st.text(max_size=100), st.sampled_from([0, 1, 127]))
def test_whatever_is_said_becomes_evidence(text: str, code: int) -> None:
    answers = {name: output(text, code) for name in ("kubelet_words", "cgroups", "joining", "firewalld", "packets")}
    plane = {name: output(text, code) for name in ("tokens", "controller", "network")}
    assert isinstance(host_of(answers, nonce="abcd1234").joined, bool)
    assert isinstance(control_plane_of(plane, flannel.NETWORK).tokens, tuple)
