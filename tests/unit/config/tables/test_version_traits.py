"""The table of minor versions: whole, in order, and never going back."""

import pytest

from kubeproof.config.tables import version_traits
from kubeproof.config.tables.version_traits import BORDERS, CHANGES, ERAS, Era


def test_every_minor_from_first_to_last_has_an_era() -> None:
    assert list(ERAS) == [f"1.{number}" for number in range(version_traits.FIRST, version_traits.LAST + 1)]
    assert all(era.minor == minor for minor, era in ERAS.items())


def test_every_change_changes_something() -> None:
    for number, changes in CHANGES.items():
        before, after = ERAS[f"1.{number - 1}"], ERAS[f"1.{number}"]
        assert all(getattr(before, name) != getattr(after, name) for name in changes), number


def test_borders_are_both_sides_of_every_change() -> None:
    assert BORDERS[0] == "1.20"
    assert BORDERS[-1] == "1.37"
    assert {"1.23", "1.24", "1.30", "1.31", "1.34", "1.35"} <= set(BORDERS)
    assert "1.28" not in BORDERS


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "kubeadm_api",
            {"1.20": "v1beta2", "1.21": "v1beta2", "1.22": "v1beta3", "1.30": "v1beta3", "1.31": "v1beta4"},
        ),
        ("dockershim", {"1.23": True, "1.24": False}),
        ("community_packages", {"1.23": False, "1.24": True}),
        ("pause_tag", {"1.20": "3.2", "1.23": "3.6", "1.30": "3.9", "1.33": "3.10", "1.34": "3.10.1"}),
        ("pause_tag", {"1.35": "3.10.1", "1.36": "3.10.2", "1.37": "3.10.2"}),
        ("pause_flag", {"1.34": True, "1.35": False}),
        ("kernel_from", {"1.31": (), "1.32": (4, 19), "1.33": (4, 19), "1.34": ()}),
        ("needs_cgroup_v2", {"1.34": False, "1.35": True}),
        ("containerd_from", {"1.25": (), "1.26": (1, 6), "1.35": (1, 6), "1.36": (2, 0)}),
        ("reset_skips", {"1.22": ("update-cluster-status",), "1.23": ()}),
    ],
)
def test_what_is_known(name: str, values: dict[str, object]) -> None:
    assert {minor: getattr(ERAS[minor], name) for minor in values} == values


def test_taints_of_the_control_plane() -> None:
    def keys(names: tuple[str, ...]) -> list[str]:
        return [name.rpartition("/")[2] for name in names]

    assert [keys(ERAS[minor].taints) for minor in ("1.23", "1.24", "1.25")] == [
        ["master"],
        ["master", "control-plane"],
        ["control-plane"],
    ]


def test_repositories() -> None:
    assert ERAS["1.23"].repository("deb") == ""
    assert ERAS["1.24"].repository("deb") == "https://pkgs.k8s.io/core:/stable:/v1.24/deb/"
    assert ERAS["1.37"].repository("rpm") == "https://pkgs.k8s.io/core:/stable:/v1.37/rpm/"


def test_refusals_name_the_direction() -> None:
    assert version_traits.refusal("1.20.15") == version_traits.refusal("1.37.0") == ""
    assert "older" in version_traits.refusal("1.19.16")
    assert "newer" in version_traits.refusal("1.38.0")
    assert "newer" in version_traits.refusal("2.0.0")


def test_kernels_and_containerd_are_compared_as_numbers() -> None:
    assert all(isinstance(era, Era) and all(isinstance(n, int) for n in era.kernel_from) for era in ERAS.values())
