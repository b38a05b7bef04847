"""Whether nft and the kernel take what is generated, and arrive where they should from whatever was there before."""

import os
import subprocess
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from agents.podnet.policy.changes import shows, transactions
from agents.podnet.policy.ruleset import Here, make_ruleset
from agents.podnet.policy.sample import make_sample
from agents.podnet.policy.table import Table
from tests.unit.agents.netns import ip, run
from tests.unit.agents.policy.objects import Item
from tests.unit.agents.policy.test_against_engine import NODES, agents_world, clusters

pytestmark = pytest.mark.netns

NAMESPACE = f"policy-nft-{os.getpid()}"
FEW = settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@pytest.fixture(scope="module", autouse=True)
def kernel() -> Iterator[None]:
    ip("netns", "add", NAMESPACE)
    yield
    run("ip", "netns", "del", NAMESPACE)


def nft(*words: str, text: str = "") -> str:
    command = ["ip", "netns", "exec", NAMESPACE, "nft", *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stderr[:2000]}\n{text}"
    return done.stdout


def listing() -> str:
    return nft("--stateless", "list", "table", "inet", "podnet")


def table_of(items: list[Item]) -> Table:
    return make_ruleset(agents_world(items), Here("one", NODES["one"])).table


def test_the_sample_holds_every_kind_of_thing() -> None:
    sample = make_sample()
    nft("--check", "-f", "-", text=sample)
    for word in ("flags interval", "ipv4_addr . inet_service", ": verdict", "sctp", "jump", "goto", "comment"):
        assert word in sample


@FEW
@given(clusters())
def test_generated_rulesets_are_accepted(items: list[Item]) -> None:
    nft("--check", "-f", "-", text=table_of(items).text())


@FEW
@given(st.lists(clusters(), min_size=3, max_size=3))
def test_changes_lead_to_the_same_table_as_a_fresh_load(steps: list[list[Item]]) -> None:
    tables = [table_of(items) for items in steps]
    nft("-f", "-", text=tables[0].text())
    for old, new in pairwise(tables):
        for text in transactions(old, new):
            nft("-f", "-", text=text)
        changed = listing()
        assert shows(changed, new)
        assert not shows(None, new)
        assert not shows(changed.replace("drop", ""), new)
        nft("-f", "-", text=new.text())
        assert in_order(changed) == in_order(listing())
    assert transactions(tables[-1], tables[-1]) == []


def in_order(text: str) -> list[tuple[str, ...]]:
    """Blocks of a listing in an order that does not depend on when they were added."""
    inside = "\n".join(text.splitlines()[1:-1])
    return sorted(tuple(line.strip() for line in block.splitlines()) for block in inside.split("\n\n"))
