"""Features of a kernel, tried on the one that runs the tests."""

import os
from pathlib import Path

import pytest

from kubeproof.deploy.facts.features import Features
from kubeproof.node.preflight.kernels import FEATURES
from tests.unit.deploy.facts.test_hosts import shell
from tests.unit.deploy.phases.fake_cluster import sections

WANTED = list(FEATURES)


def test_only_what_is_wanted_is_asked() -> None:
    assert "type vxlan" in Features().command(WANTED)
    assert "type vxlan" not in Features().command(["veth"])


def test_the_last_line_is_the_answer_and_none_is_no_try() -> None:
    output = sections(veth="ok", bridge="", vxlan="x\nOperation not supported")
    assert Features().process(output.splitlines()) == {"veth": "ok", "vxlan": "Operation not supported"}


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces")
def test_this_kernel(tmp_path: Path) -> None:
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
    found = Features().process(shell(command.replace("if unshare", f"PATH={tmp_path}; if unshare")))
    assert not {"overlay", "veth", "bridge", "vxlan"} & found.keys()
