"""The parsers on captures from the real flannel, where those are at hand."""

import re
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from kubeproof.state.hostfiles import parse_subnet_env
from kubeproof.state.iptables import Match, Rule, Ruleset, parse_iptables_save, parse_rule

REPOSITORY = Path(__file__).resolve().parents[3]
GOLDEN = REPOSITORY.parent / "shared" / "golden"

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"there are no captures in {GOLDEN}")

PODS = IPv4Network("10.244.0.0/16")


@pytest.fixture(scope="module")
def node1() -> Ruleset:
    return parse_iptables_save((GOLDEN / "node1-nat.save").read_text() + (GOLDEN / "node1-filter.save").read_text())


def test_every_line_of_the_captured_rules_is_a_rule(node1: Ruleset) -> None:
    text = (GOLDEN / "node1-nat.save").read_text() + (GOLDEN / "node1-filter.save").read_text()
    assert node1.rule_count == len(re.findall(r"^-A ", text, re.MULTILINE))
    assert (node1.variant, node1.version) == ("nf_tables", "1.8.9")


def test_nothing_in_them_is_unknown_to_the_model(node1: Ruleset) -> None:
    rules = [rule for table in node1.tables.values() for chain in table.chains.values() for rule in chain.rules]
    assert [rule.text for rule in rules if rule.other] == []


def test_the_accepts_and_the_policy(node1: Ruleset) -> None:
    forward = node1.chain("filter", "FORWARD")
    assert forward is not None
    assert forward.policy == "DROP"
    assert forward.rules[-2:] == (
        Rule("FORWARD", "ACCEPT", source=Match(PODS)),
        Rule("FORWARD", "ACCEPT", destination=Match(PODS)),
    )


@pytest.mark.parametrize("number", [11, 12, 13])
def test_each_nodes_capture(number: int) -> None:
    lines = (GOLDEN / f"flannel-{number}.txt").read_text().splitlines()
    env = parse_subnet_env("\n".join(line for line in lines if line.startswith("FLANNEL_")))
    assert (env.network, str(env.subnet), env.mtu) == (PODS, f"10.244.{number - 11}.1/24", 1450)
    rules = [parse_rule(line) for line in lines if line.startswith("-A ")]
    assert [rule for rule in rules if rule.other] == []
    returns = [rule for rule in rules if rule.target == "RETURN" and rule.source == Match(PODS, negated=True)]
    assert [rule.destination for rule in returns] == [Match(env.subnet.network)]
