"""A node's state out of the outputs of its script."""

import base64
import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.config.tables import paths
from kubeproof.node.parts import parts
from kubeproof.proof.checks import by_name
from kubeproof.rules.host import iptables_mixed
from kubeproof.state.collector import TIMED_OUT, Output
from kubeproof.state.containers import CONTAINERD, DOCKER, TOOLS, Tool
from kubeproof.state.hostfiles import Identity, Kubelet, Paused
from kubeproof.state.iptables import Ruleset
from kubeproof.state.model import Namespace
from kubeproof.state.node import NodeState
from kubeproof.state.part import Asker, state_of, texts
from kubeproof.state.policies import PoliciesInForce
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


EVERYBODY = Asker.DEPLOY | Asker.RECORD | Asker.PROOF | Asker.DOCTOR | Asker.PAGE


def outputs(**changes: Output) -> dict[str, Output]:
    plain = {
        **dict.fromkeys((f"network-{name}" for name in ("links", "addresses", "routes", "neighbours")), "[]"),
        "fdb": "[]",
        "iptables": good.RULES.replace("SUBNET", "10.98.1.0/24"),
        "other_iptables": "",
        "subnet_env": SUBNET_ENV,
        "sysctls": "net.ipv4.ip_forward = 1\n",
        "swaps": "Filename\tType\n",
        "containers": json.dumps({"netns": "net:[7]", "about": ABOUT, "network": INSIDE}) + "\n",
        "policies": '{"enforced": true, "policies": {"default/deny": "17"}}',
        "nft_tables": "table inet podnet\n",
        "virtual_servers": "TCP  0A610001:01BB rr \n",
        "ipsets": "create KUBE-NODE-PORT-TCP bitmap:port range 0-65535\n",
        "proxy_table": '{"nftables": [{"chain": {"name": "services"}}]}\n',
        "cni_files": "10-podnet.conflist\ncalico-kubeconfig\n",
        "identity": "hostname=node-b\nmachine_id=4711\nproduct_uuid=ABC\ncontainer=\n",
        "clock": "1800000000.123456789\n",
        "paused": "abc123 etcd kube-system/etcd-b\n",
        "kubelet": "state=active\nhealth=ok\n",
        "control_plane": 'etcd={"health":"true"}\nkube-scheduler=ok\nnot a line\n',
    }
    assert plain.keys() == texts(parts(Asker.PROOF)).keys()
    said = {name: Output(0, text, "") for name, text in plain.items()}
    return said | {name.replace("network_", "network-"): output for name, output in changes.items()}


def proven(said: dict[str, Output], tool: Tool = DOCKER) -> NodeState:
    return state_of("node-b", parts(Asker.PROOF, tool), said)


def test_every_part_is_filled() -> None:
    state = proven(outputs())
    assert state.unreadable == {}
    assert state.iptables == good.rules("node-b")
    assert state.other_iptables == Ruleset()
    assert state.sysctls == {"net.ipv4.ip_forward": "1"}
    assert state.policies == PoliciesInForce(True, {"default/deny": "17"})
    assert state.nft_tables == ("inet podnet",)
    assert list(map(str, state.virtual_servers)) == ["tcp 10.97.0.1:443"]
    assert state.ipsets == {"KUBE-NODE-PORT-TCP": ("bitmap:port",)}
    assert state.proxy_table.rules == {"services": ()}
    assert state.cni_files == ("10-podnet.conflist", "calico-kubeconfig")
    assert state.identity == Identity("node-b", "4711", "abc", "")
    assert state.clock == pytest.approx(1800000000.123456789)
    assert state.paused == (Paused("abc123", "etcd", "kube-system/etcd-b"),)
    assert state.kubelet == Kubelet("active", "ok")
    assert state.control_plane == {"etcd": '{"health":"true"}', "kube-scheduler": "ok"}
    pause = state.sandbox("default/web-1")
    assert pause is not None
    assert (pause.pid, pause.netns, pause.network_mode, pause.is_sandbox) == (4242, "net:[7]", "none", True)
    assert pause.network is not None
    assert str(pause.network.addresses[0]) == "10.98.1.2/24"
    assert str(pause.network.routes[0]) == "0.0.0.0/0 via 10.98.1.1 dev eth0"


def test_what_fails_or_cannot_be_parsed_is_unreadable_and_the_rest_is_there() -> None:
    state = proven(
        outputs(
            network_routes=Output(0, "{", ""),
            fdb=Output(127, "", "sh: 1: bridge: not found\n"),
            subnet_env=Output(1, "", "cat: /run/flannel/subnet.env: Permission denied\n"),
            containers=Output(0, '{"netns": "net:[7]"}\n', ""),
            other_iptables=Output(0, "what?\n", ""),
            identity=Output(0, "hostname=\n", ""),
            clock=Output(0, "Sat\n", ""),
            sysctls=Output(124, "net.ipv4.ip_forward = 1\n", ""),
            kubelet=Output(127, "", "curl is not installed\n"),
        )
    )
    assert state.unreadable.keys() == {
        *("network", "fdb", "subnet_env", "containers", "other_iptables", "identity", "clock", "sysctls", "kubelet")
    }
    assert state.unreadable["fdb"] == "fdb: exit code 127: sh: 1: bridge: not found"
    assert "Permission denied" in state.unreadable["subnet_env"]
    assert "docker: line 1.about.id: is missing" in state.unreadable["containers"]
    assert state.network == Namespace()
    assert state.iptables == good.rules("node-b")


def test_that_there_is_no_such_file_is_a_fact() -> None:
    missing = {
        "subnet_env": "cat: /run/flannel/subnet.env: No such file or directory\n",
        "policies": "cat: can't open '/run/podnet/policies.json': No such file or directory\n",
        "cni_files": "ls: cannot access '/etc/cni/net.d': No such file or directory\n",
        "swaps": "cat: /proc/swaps: No such file or directory\n",
    }
    state = proven(outputs(**{name: Output(1, "", text) for name, text in missing.items()}))
    assert state.unreadable == {}
    assert (state.subnet_env, state.policies, state.cni_files, state.swaps) == (None, None, (), ())


def test_settings_that_the_kernel_lacks_are_left_out_by_a_real_shell() -> None:
    text = texts(parts(Asker.PROOF))["sysctls"].replace("bridge-nf-call-iptables", "not-there")
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    read = proven(outputs(sysctls=Output(0, done.stdout, done.stderr))).sysctls
    assert read["net.ipv4.ip_forward"] in ("0", "1")
    assert "net.bridge.not-there" not in read


def test_legacy_tables_that_no_tool_reads_do_not_hide_the_nodes_own_rules() -> None:
    gone = Output(0, "# Table `nat' is incompatible, nothing is installed to read it\n", "")
    state = proven(outputs(other_iptables=gone))
    assert (state.unreadable, state.iptables) == ({}, good.rules("node-b"))
    row = iptables_mixed.check(good.context("node-b", here=state))
    assert not row.ok
    assert "rules that nothing here can show: nat" in row.found


FAKE_TOOLS = {
    "iptables": "echo 'iptables v1.8.7 (@)'",
    "iptables-save": "echo '# Generated by iptables-save v1.8.7 on Mon'; echo '*nat'; echo COMMIT",
    "iptables-legacy-save": "echo '# Generated by iptables-save v1.8.7 on Mon'; echo '*nat'; echo COMMIT",
    "iptables-nft-save": "echo '# Generated by iptables-nft-save v1.8.7 on Mon'; echo '*nat'; echo COMMIT",
}


@pytest.mark.parametrize(
    ("own", "names", "missing", "expected"),
    [
        ("nf_tables", "nat\n", "", ("nf_tables", "legacy")),
        ("nf_tables", "", "", ("nf_tables", "")),
        ("nf_tables", "nat\nfilter\n", "iptables-legacy-save", ("nf_tables", "")),
        ("legacy", "nat\n", "", ("legacy", "nf_tables")),
        ("legacy", "nat\n", "iptables-nft-save", ("legacy", "")),
    ],
)
def test_each_variant_is_known_by_who_printed_it(
    tmp_path: Path, own: str, names: str, missing: str, expected: tuple[str, str]
) -> None:
    for tool, text in FAKE_TOOLS.items():
        if tool != missing:
            (tmp_path / tool).write_text(f"#!/bin/sh\n{text.replace('@', own)}\n")
            (tmp_path / tool).chmod(0o755)
    for tool in ("sh", "grep", "tr", "cat"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or tool)
    (tmp_path / "names").write_text(names)
    answers = {}
    for name in ("iptables", "other_iptables"):
        text = texts(parts(Asker.PROOF))[name].replace("/proc/net/ip_tables_names", f"{tmp_path}/names")
        done = subprocess.run(
            ["sh", "-c", text], env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
        )
        answers[name] = Output(done.returncode, done.stdout, done.stderr)
    state = proven(outputs(**answers))
    assert (state.iptables.variant, state.other_iptables.variant) == expected
    unseen = ("nat", "filter") if missing == "iptables-legacy-save" else ()
    assert state.other_iptables.incompatible == unseen
    assert state.unreadable == {}


def test_one_odd_entry_is_named_and_hides_no_other() -> None:
    other = {**ABOUT, "id": "beef", "labels": {**ABOUT["labels"], "pod": "web-2"}}  # type: ignore[dict-item]
    lines = [
        json.dumps({"netns": "net:[7]", "about": ABOUT, "network": {**INSIDE, "neighbours": [{"dst": "?"}]}}),
        "{torn",
        json.dumps({"netns": "net:[8]", "about": other}),
    ]
    state = proven(
        outputs(
            network_routes=Output(0, '[{"dst": "10.98.1.0/24", "dev": "cni0"}, {"dst": "10.98.2.0/240"}]', ""),
            fdb=Output(
                0, '[{"mac": "02::1"}, {"mac": "02::2", "ifname": "a", "dst": "x"}, {"mac": "m", "ifname": "b"}]', ""
            ),
            containers=Output(0, "\n".join(lines), ""),
            iptables=Output(0, "*nat\n:A - [0:0]\nodd\nCOMMIT\n", ""),
        )
    )
    assert state.unreadable == {}
    assert [str(route) for route in state.network.routes] == ["10.98.1.0/24 dev cni0"]
    assert [entry.mac for entry in state.fdb] == ["m"]
    assert [item.pod_name for item in state.containers] == ["web-1", "web-2"]
    assert state.containers[0].network is not None
    assert state.containers[0].network.links
    assert {part: len(found) for part, found in state.odd.items()} == {
        **{"network": 1, "fdb": 2, "containers": 2, "iptables": 1}
    }
    assert "10.98.2.0/240" in state.odd["network"][0]


def test_a_check_that_fails_beside_an_odd_line_names_it_and_one_that_holds_does_not() -> None:
    state = replace(good.state("node-b"), odd={"network": ("ip route: [3].dst: is odd",)})
    failing = replace(state, network=replace(state.network, routes=()))
    fails, holds = (
        by_name("routes-to-other-nodes").check(good.context("node-b", here=here)) for here in (failing, state)
    )
    assert "not understood: ip route: [3].dst: is odd" in fails.found
    assert holds.ok
    assert "not understood" not in holds.found


TEXTS = st.text(max_size=80) | st.sampled_from(
    ["[]", "[{}]", "[[]]", "{}", "null", "1" * 5000, "[" * 3000, '"x"', "=", "table "]
)


@settings(deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(texts(parts(EVERYBODY)), TEXTS)), st.sampled_from([0, 1, 127]))
def test_whatever_a_host_says_a_state_comes_of_it(said: dict[str, str], code: int) -> None:
    for tool in TOOLS.values():
        state = state_of(
            "node-b", parts(EVERYBODY, tool), {name: Output(code, text, text) for name, text in said.items()}
        )
        assert state.name == "node-b"


@settings(deadline=None)
@given(st.data())
def test_one_altered_value_never_makes_the_network_unreadable(data: st.DataObject) -> None:
    links = [{"ifindex": n, "ifname": f"v{n}", "flags": ["UP"], "mtu": 1450, "operstate": "UP"} for n in range(3)]
    links[1]["linkinfo"] = {"info_kind": "vxlan", "info_data": {"id": 1, "port": 8472, "local": "10.99.0.12"}}
    odd = data.draw(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
    )
    key = data.draw(st.sampled_from([*links[1]]))
    links[1][key] = odd
    inside = {**INSIDE, "links": links}
    found = proven(
        outputs(
            network_links=Output(0, json.dumps(links), ""),
            containers=Output(0, json.dumps({"netns": "n", "about": ABOUT, "network": inside}), ""),
        )
    )
    assert found.unreadable == {}
    network = found.containers[0].network
    assert network is not None
    for names in ([link.name for link in found.network.links], [link.name for link in network.links]):
        assert {"v0", "v2"} <= set(names)


def test_the_commands_are_shell_that_a_shell_takes() -> None:
    for tool in TOOLS.values():
        for text in texts(parts(EVERYBODY, tool)).values():
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
    state = proven(outputs(containers=Output(0, text, "")), CONTAINERD)
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
    (container,) = proven(outputs(containers=Output(0, done.stdout, "")), CONTAINERD).containers
    assert (container.pid, container.netns, container.network_mode) == (os.getpid(), namespace, "host")


def test_tools_enter_containers() -> None:
    assert DOCKER.inside("c1", "echo 'a'") == """docker exec c1 sh -c 'echo '"'"'a'"'"''"""
    assert CONTAINERD.inside("c1", "true") == ("ctr --namespace k8s.io tasks exec --exec-id kubeproof-$$ c1 sh -c true")
    assert [tool.called for tool in (DOCKER, CONTAINERD)] == ["docker exec", "ctr tasks exec"]


CONF = "/proc/sys/net/ipv4/conf"


def diagnosed(**said: str) -> NodeState:
    return state_of("node-b", parts(Asker.DOCTOR), {name: Output(0, text, "") for name, text in said.items()})


def test_what_the_doctor_asks() -> None:
    host = diagnosed(
        kubelet_words="F0101 12:00:00.000000 1 server.go:274] failed to run Kubelet: running with swap on\n",
        kubelet_driver="systemd\n",
        runtime_driver="cgroupfs\n",
        joined=f"{paths.KUBELET_CONF}\n",
        node_ip="10.99.0.12,fd00::12\n",
        token_ids="abcdef\nabcdef\n",
        firewalld="running\n",
        runtime="inactive\n",
        last_lines='etcd={"log":"no space left\\n","stream":"stderr"}\ncoredns=2026 stderr F plugin/loop\n',
        manifests="etcd.yaml\nkube-apiserver.yaml\n",
        nft_rules="",
        ip_rules='[{"priority":0,"src":"all","table":"local"},{"priority":7,"src":"all","fwmark":"0x1"}]',
        shaped='[{"kind":"noqueue","dev":"lo"},{"kind":"netem","dev":"eth9","root":true}]',
        not_forwarding=f"{CONF}/flannel.1/forwarding:0\n{CONF}/lo/forwarding:1\n",
    )
    assert host.unreadable == {}
    assert host.kubelet_words == "failed to run Kubelet: running with swap on"
    assert (host.kubelet_driver, host.runtime_driver) == ("systemd", "cgroupfs")
    assert (host.joined, host.node_ip, host.token_ids) == (True, "10.99.0.12", ("abcdef",))
    assert host.firewalld
    assert (host.runtime, host.manifests) == ("inactive", ("etcd", "kube-apiserver"))
    assert host.last_lines == {"etcd": "no space left", "coredns": "plugin/loop"}
    assert [rule.removal for rule in host.ip_rules] == ["ip rule del pref 7 fwmark 0x1"]
    assert (host.shaped, host.not_forwarding) == ((("eth9", "netem"),), ("flannel.1",))


def test_what_a_node_does_not_answer_is_said_and_assumed_of_nobody() -> None:
    host = state_of("node-b", parts(Asker.DOCTOR), {"joined": Output(TIMED_OUT, "", "")})
    assert host.unreadable["joined"] == "it took too long"
    assert host.unreadable["kubelet_driver"] == "was not asked"
    assert host.joined
    assert host.kubelet_driver == ""
    assert not diagnosed(firewalld="").firewalld


def test_what_a_token_is_named_by_is_asked_and_not_its_secret(tmp_path: Path) -> None:
    (tmp_path / "join.yaml").write_text("discovery:\n  token: abcdef.0123456789abcdef\n")
    text = texts(parts(Asker.DOCTOR))["token_ids"].replace(paths.JOIN_CONFIG, str(tmp_path / "join.yaml"))
    assert subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True).stdout == "abcdef\n"


def test_certificates_are_told_by_when_they_end_and_no_key_is(tmp_path: Path) -> None:
    pki, kubelet = tmp_path / "etc" / "pki", tmp_path / "kubelet"
    for folder in (pki / "etcd", kubelet):
        folder.mkdir(parents=True)
    key, made = tmp_path / "key", tmp_path / "made"
    request = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-days", "10", "-subj", "/CN=x"]
    subprocess.run([*request, "-keyout", str(key), "-out", str(made)], check=True, capture_output=True)
    both, encoded = made.read_text() + key.read_text(), base64.b64encode(made.read_bytes()).decode()
    (pki / "etcd" / "server.crt").write_text(made.read_text())
    (kubelet / "kubelet-client-current.pem").write_text(both)
    (kubelet / "odd.crt").write_text("no certificate")
    (tmp_path / "etc" / "admin.conf").write_text(f"    client-certificate-data: {encoded}\n    client-key-data: x\n")
    (tmp_path / "etc" / "kubelet.conf").write_text("    client-certificate: /elsewhere\n")
    (asked,) = [part for part in parts(Asker.PAGE) if part.field == "certificates"]
    text = asked.text.replace(paths.KUBERNETES, str(tmp_path / "etc")).replace(paths.KUBELET_PKI, str(kubelet))
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    assert "KEY" not in done.stdout
    ends = asked.parse(done.stdout)
    assert list(ends) == [
        str(tmp_path / name)
        for name in ("etc/pki/etcd/server.crt", "kubelet/kubelet-client-current.pem", "etc/admin.conf")
    ]
    assert {(end - datetime.now(UTC)).days for end in ends.values()} == {9}


def test_a_host_without_openssl_says_so() -> None:
    (asked,) = [part for part in parts(Asker.PAGE) if part.field == "certificates"]
    done = subprocess.run(
        ["/bin/sh", "-c", asked.text], capture_output=True, text=True, check=False, env={"PATH": "/no"}
    )
    state = state_of("node-b", [asked], {asked.field: Output(done.returncode, done.stdout, done.stderr)})
    assert "openssl: not found" in state.unreadable["certificates"]
