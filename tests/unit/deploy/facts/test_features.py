"""Features of a kernel, tried on the one that runs the tests."""

import os

import pytest

from kubeproof.deploy.facts.features import Features
from kubeproof.node.preflight.kernels import FEATURES
from tests.unit.deploy.facts.test_hosts import shell

WANTED = list(FEATURES)


def test_only_what_is_wanted_is_asked() -> None:
    assert list(Features().process(shell(Features().command(["conntrack"])))) == ["conntrack"]


def test_the_last_line_is_the_answer_and_none_is_no_try() -> None:
    lines = ["##kubeproof veth", "ok", "##kubeproof bridge", "##kubeproof vxlan", "x", "Operation not supported"]
    assert Features().process(lines) == {"veth": "ok", "vxlan": "Operation not supported"}


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces")
def test_this_kernel() -> None:
    command = Features().command(WANTED)
    found = Features().process(shell(command))
    assert set(found) == set(FEATURES)
    assert {name: found[name] for name in ("overlay", "veth", "bridge")} == dict.fromkeys(
        ("overlay", "veth", "bridge"), "ok"
    )
    # The same with a kind of link that no kernel has, a sysctl that is not there, and rules that are refused.
    broken = command.replace("type veth", "type nosuch").replace("/bridge-nf-call-iptables br_nf_pre_routing", "/x x_x")
    broken = broken.replace("--ctstate INVALID", "--ctstate NOSUCH")
    found = Features().process(shell(broken))
    assert found["veth"] not in ("ok", "")
    assert found["br_netfilter"] == "not in this kernel"
    # Without unshare nothing was tried.
    found = Features().process(shell(command.replace("unshare ", "no-such-command ")))
    assert not {"overlay", "veth", "bridge", "vxlan"} & found.keys()
