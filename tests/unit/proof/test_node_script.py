"""A node's state out of the outputs of its script."""

import json
import subprocess

from kubeproof.network.iptables import Ruleset
from kubeproof.network.model import Namespace
from kubeproof.network.policies import PoliciesInForce
from kubeproof.proof.node_script import COMMANDS, parse_state
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
    }
    assert plain.keys() == COMMANDS.keys()
    return {name: Output(0, text, "") for name, text in plain.items()} | changes


def test_every_part_is_filled() -> None:
    state = parse_state("node-b", outputs())
    assert state.unreadable == {}
    assert state.iptables == good.rules("node-b")
    assert state.other_iptables == Ruleset()
    assert state.sysctls == {"net.ipv4.ip_forward": "1"}
    assert state.policies == PoliciesInForce(True, {"default/deny": "17"})
    assert state.nft_tables == ("inet podnet",)
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
        ),
    )
    assert state.unreadable.keys() == {"network", "fdb", "subnet_env", "containers", "iptables"}
    assert state.unreadable["fdb"] == "fdb: exit code 127: sh: 1: bridge: not found"
    assert "No such file or directory" in state.unreadable["subnet_env"]
    assert "docker: line 1.about.id: is missing" in state.unreadable["containers"]
    assert state.network == Namespace()
    assert state.sysctls == {"net.ipv4.ip_forward": "1"}


def test_the_commands_are_shell_that_a_shell_takes() -> None:
    for text in COMMANDS.values():
        subprocess.run(["sh", "-n", "-c", text], check=True)
