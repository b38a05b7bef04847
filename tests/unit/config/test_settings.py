"""Settings: what can be taken, what is refused and in which words, and what follows from them."""

import runpy
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeproof.config.settings import NAMES, examine, parse
from kubeproof.terminal import exits
from kubeproof.terminal.errors import UserError
from tests.unit.samples import SETTINGS, cases

CASES = Path(__file__).parent / "settings"


@pytest.mark.parametrize("case", cases(CASES, "valid-*.yaml"))
def test_valid(case: dict[str, Any]) -> None:
    parse({**SETTINGS, **case["change"]})


@pytest.mark.parametrize("case", cases(CASES, "invalid-*.yaml"))
def test_invalid(case: dict[str, Any]) -> None:
    with pytest.raises(UserError) as error:
        parse({**SETTINGS, **case["change"]})
    assert list(error.value.problems) == case["problems"]


def test_every_missing_setting_is_named() -> None:
    with pytest.raises(UserError) as error:
        parse({})
    # Inventories that keep all settings of their own need not have the newest.
    newest = ("patience", "kube_proxy_mode", "cni_cross_subnet", "cni_block_size", "cni_nat_outgoing")
    assert [line.partition(":")[0] for line in error.value.problems] == [name for name in NAMES if name not in newest]


def test_what_follows_from_the_settings() -> None:
    settings = parse(SETTINGS)
    assert settings.kubernetes_minor == "1.20"
    assert settings.cluster_dns_address == IPv4Address("10.1.0.10")
    assert settings.node_ports[0] == 30000
    assert settings.node_ports[-1] == 33000


def test_all_settings_are_declared_once_and_none_beside_them() -> None:
    declared = runpy.run_path(str(exits.REPOSITORY / "inventory/group_data/all.py"))
    of_pyinfra = ("ssh_strict_host_key_checking",)
    assert [name for name in declared if not name.startswith("_") and name not in of_pyinfra] == sorted(
        (name for name in declared if name in NAMES), key=list(declared).index
    )
    assert set(NAMES) <= set(declared)


def test_declared_values_lack_only_what_no_value_could_fit() -> None:
    declared = runpy.run_path(str(exits.REPOSITORY / "inventory/group_data/all.py"))
    with pytest.raises(UserError) as error:
        parse({name: declared[name] for name in NAMES})
    assert {line.partition(":")[0] for line in error.value.problems} == {
        "kubernetes_apt_url",
        "kubernetes_apt_key",
        "node_network",
        "podnet_image",
        "httpd_image",
        "kuard_image",
    }


def test_the_lab_gives_every_value_that_is_lacking_and_keeps_its_addresses() -> None:
    group_data = exits.REPOSITORY / "inventory/group_data"
    declared = runpy.run_path(str(group_data / "all.py")) | runpy.run_path(str(group_data / "lab.py"))
    settings = parse({name: declared[name] for name in NAMES})
    assert str(settings.service_cidr) == "10.1.0.0/16"
    assert settings.podnet_image.startswith("192.168.200.1:5000/podnet:")


ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.text()),
)


@given(name=st.sampled_from(NAMES), value=ANYTHING)
def test_whatever_is_given_is_taken_or_refused_in_one_line(name: str, value: object) -> None:
    _, problems = examine({**SETTINGS, name: value})
    assert all(line.partition(":")[0] in NAMES for line in problems)
    assert all(line.isprintable() for line in problems)


@given(st.integers(0, 2**32 - 1), st.integers(0, 32), st.integers(0, 2**32 - 1), st.integers(0, 32))
def test_overlaps_are_those_that_share_addresses(first: int, first_bits: int, second: int, second_bits: int) -> None:
    pods = ip_network((first, first_bits), strict=False)
    services = ip_network((second, second_bits), strict=False)
    _, problems = examine({**SETTINGS, "pod_cidr": str(pods), "service_cidr": str(services)})
    share = pods[0] in services or services[0] in pods
    assert any(line.startswith("service_cidr: overlaps pod_cidr") for line in problems) == share


@pytest.mark.parametrize("key", ["kubernetes_apt_key", "kubernetes_rpm_key", "runtime_rpm_key"])
def test_a_key_by_plain_http_needs_its_fingerprint(key: str) -> None:
    plain = {**SETTINGS, key: "http://mirror.example.net/key"}
    with pytest.raises(UserError) as error:
        parse(plain)
    (line,) = error.value.problems
    assert line.startswith(f"{key}_fingerprint: is empty although the key comes by plain HTTP")
    assert parse({**plain, f"{key}_fingerprint": "0" * 40})
    assert parse({**plain, key: "https://mirror.example.net/key"})
    with pytest.raises(UserError):
        parse({**plain, f"{key}_fingerprint": "0" * 39})
