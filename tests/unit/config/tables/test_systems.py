"""Systems by what os-release(5) calls them, and versions as numbers."""

import pytest

from kubeproof.config.tables.systems import numbers, system_of


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("debian 12", "debian 12"),
        ("ubuntu 24.04", "ubuntu 24.04"),
        ("rhel 9.4", "rhel 9"),
        ("rocky 8.10", "rhel 8"),
        ("almalinux 9", "rhel 9"),
        ("rhel 10.0", None),
        ("debian 11", None),
        ("ubuntu 20.04", None),
        ("", None),
    ],
)
def test_systems(written: str, key: str | None) -> None:
    found = system_of(written)
    assert (found.key if found else None) == key


def test_versions_as_numbers() -> None:
    assert numbers("4.18.0-553.el8_10.x86_64") == (4, 18, 0)
    assert numbers("6.1") == (6, 1)
    assert numbers("unknown") == ()
