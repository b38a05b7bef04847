"""Counters that tell of losses, before and after."""

from kubeproof.trace.confirmed import moved, of_conntrack, of_protocols

SNMP = """\
Ip: Forwarding InDiscards OutNoRoutes
Ip: 1 2 3
Tcp: InSegs RtoMin
Tcp: 100 200
"""
CONNTRACK = """\
cpu=0   \tfound=0 invalid=2 insert=0 insert_failed=0 drop=1 early_drop=0 error=0 search_restart=7
cpu=1   \tfound=0 invalid=3 insert=0 insert_failed=0 drop=0 early_drop=0 error=0 search_restart=7
"""


def test_only_those_that_tell_of_losses_are_read() -> None:
    assert of_protocols(SNMP) == {"Ip.InDiscards": 2, "Ip.OutNoRoutes": 3}


def test_processors_are_added() -> None:
    found = of_conntrack(CONNTRACK)
    assert (found["conntrack.invalid"], found["conntrack.drop"]) == (5, 1)


def test_what_moved_is_told() -> None:
    assert list(moved({"a": 1, "b": 1}, {"a": 1, "b": 3, "new": 4})) == ["b +2"]


def test_nothing_is_read_of_nothing() -> None:
    assert of_protocols("") == {}
    assert set(of_conntrack("").values()) == {0}
