"""Firewalls of the machine's own, from the kernel's listings.

`firewalls/` holds listings of `nft --json list ruleset` in a network namespace of Debian 12, without what no packet of
the lab comes to: firewalld 1.3.3's own library has loaded its rules, once more with the bridge in its zone trusted;
ufw 0.36.2's own files, and with what `ufw allow in on` adds; Docker's chains as it makes them; a firewall by hand.
"""

import json
from pathlib import Path

import pytest

from lab import firewalls, network
from tests.unit.lab.test_preflight import Machine

BRIDGE = "kubeproof0"
FOLDER = Path(__file__).parent / "firewalls"


def listing(name: str) -> str:
    return (FOLDER / f"{name}.json").read_text()


def problems(monkeypatch: pytest.MonkeyPatch, text: str, *, iptables: bool = True) -> list[str]:
    there = {"nft": "/usr/sbin/nft", "iptables": "/usr/sbin/iptables" if iptables else None}
    monkeypatch.setattr("shutil.which", lambda name, path="": there[name])
    monkeypatch.setattr("lab.shell.run", lambda *_, **__: text)
    return firewalls.check(BRIDGE)


def test_firewalld_rejects_the_labs_packets_unless_the_bridge_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = problems(monkeypatch, listing("firewalld"))
    assert "firewalld rejects" in line
    assert "--zone=trusted --add-interface=kubeproof0" in line
    assert problems(monkeypatch, listing("firewalld-trusted")) == []


def test_ufw_drops_what_nodes_ask_of_the_mirror_unless_it_allows_the_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = problems(monkeypatch, listing("ufw"))
    assert "ufw's chain ip filter INPUT drops" in line
    assert "nodes could not reach the mirror; run `ufw allow in on kubeproof0`" in line
    assert problems(monkeypatch, listing("ufw-allowed")) == []


def test_dockers_default_is_dealt_with_by_the_lab_where_iptables_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, listing("docker")) == []
    (line,) = problems(monkeypatch, listing("docker"), iptables=False)
    assert "ip filter FORWARD drops by default, so nodes could not reach each other" in line
    assert line.endswith("run `apt-get install iptables`")


def test_a_firewall_by_hand_is_told_chain_by_chain(monkeypatch: pytest.MonkeyPatch) -> None:
    """One drops by its policy, the other by its last rule."""
    first, second = problems(monkeypatch, listing("own"))
    assert first.endswith(
        "so nodes could not reach the mirror; run `nft insert rule inet filter input iifname kubeproof0 accept`"
    )
    assert "inet filter forward" in second
    assert problems(monkeypatch, listing("own-accepted")) == []


def test_the_labs_own_rule_in_forward_says_nothing_of_input(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = json.loads(listing("ufw"))["nftables"]
    passes = {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": BRIDGE}}
    objects.append(
        {"rule": {"family": "ip", "table": "filter", "chain": "FORWARD", "expr": [passes, {"accept": None}]}}
    )
    assert len(problems(monkeypatch, json.dumps({"nftables": objects}))) == 1


def test_the_labs_own_table_is_no_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert problems(monkeypatch, listing("own").replace('"filter"', f'"{network.TABLE}"')) == []


def test_before_nft_is_installed_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    assert firewalls.check(BRIDGE) == []


def test_preflight_tells_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Machine(monkeypatch, tmp_path)
    machine.answers("firewalls.check", ["firewall: closed"])
    assert machine.problems() == ("firewall: closed",)
