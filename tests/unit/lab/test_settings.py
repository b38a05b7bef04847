"""The lab's shape: what may be asked for, and every problem in one line."""

from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeproof.terminal.errors import UserError
from lab.settings import FILE, LabSettings, parse, read_file
from tests.unit.samples import cases

CASES = Path(__file__).parent / "settings"
DEFAULTS = read_file(FILE)


def parsed(case: dict[str, Any]) -> LabSettings:
    raw = {name: value for name, value in DEFAULTS.items() if name not in case.get("remove", [])}
    return parse({**raw, **case.get("change", {})}, case.get("environment", {}))


@pytest.mark.parametrize("case", cases(CASES, "valid-*.yaml"))
def test_valid(case: dict[str, Any]) -> None:
    parsed(case)


@pytest.mark.parametrize("case", cases(CASES, "invalid-*.yaml"))
def test_invalid(case: dict[str, Any]) -> None:
    with pytest.raises(UserError) as error:
        parsed(case)
    assert list(error.value.problems) == case["problems"]


def test_documented_addresses() -> None:
    lab = parse(DEFAULTS, {})
    assert [(node.name, str(node.address), node.role) for node in lab.nodes] == [
        ("k8s-master", "192.168.200.11", "control-plane"),
        ("k8s-node1", "192.168.200.12", "worker"),
        ("k8s-node2", "192.168.200.13", "worker"),
    ]
    assert lab.gateway == IPv4Address("192.168.200.1")
    assert lab.registry == "192.168.200.1:5000"
    assert lab.apt_url == "http://192.168.200.1:3142"


@pytest.mark.parametrize(
    ("system", "found"),
    [
        ("debian-12", ["bookworm"] * 3),
        ("debian-13", ["trixie"] * 3),
        ("debian-12 debian-13", ["bookworm", "trixie", "trixie"]),
        ("debian-12 debian-12 debian-13 debian-12", ["bookworm", "bookworm", "trixie"]),
    ],
)
def test_each_node_has_its_system_and_those_that_follow_the_last(system: str, found: list[str]) -> None:
    lab = parse(DEFAULTS, {"KUBEPROOF_LAB_SYSTEM": system})
    assert [node.system.release for node in lab.nodes] == found
    assert [each.release for each in lab.systems] == list(dict.fromkeys(found))


def test_unknown_node_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(UserError, match="k8s-nod1: no such node in the lab, did you mean k8s-node1"):
        parse(DEFAULTS, {}).node("k8s-nod1")


def test_file_that_is_not_toml(tmp_path: Path) -> None:
    file = tmp_path / "lab.toml"
    file.write_text("workers = = 2")
    with pytest.raises(UserError, match="is not TOML"):
        read_file(file)
    with pytest.raises(UserError, match="cannot be read"):
        read_file(tmp_path / "absent.toml")


@given(workers=st.integers(-2, 12), prefix=st.integers(14, 30), first=st.integers(0, 300))
def test_whatever_is_accepted_has_room_for_every_node(workers: int, prefix: int, first: int) -> None:
    try:
        lab = parse({**DEFAULTS, "workers": workers, "node_network": f"10.96.0.0/{prefix}", "first_node": first}, {})
    except UserError:
        return
    addresses = {node.address for node in lab.nodes} | {lab.gateway}
    assert len(addresses) == workers + 2
    assert all(address in lab.node_network for address in addresses)
    assert lab.node_network.broadcast_address not in addresses
