"""Which manifest a Kubernetes version gets."""

import re

import pytest

from kubeproof.cni import api, catalogue
from kubeproof.cni.catalogue import PINNED
from kubeproof.cni.networks import NETWORKS, no_enforcement
from kubeproof.settings_tables import README
from tests.unit.cni.upstream import manifest


@pytest.mark.parametrize(
    ("project", "minor", "version"),
    [
        ("flannel", "1.20", "v0.20.2"),
        ("flannel", "1.24", "v0.20.2"),
        ("flannel", "1.25", "v0.28.9"),
        ("flannel", "1.36", "v0.28.9"),
        ("canal", "1.20", "v3.24.6"),
        ("canal", "1.30", "v3.24.6"),
        ("canal", "1.31", "v3.32.1"),
        ("canal", "1.36", "v3.32.1"),
    ],
)
def test_the_newest_that_fits(project: str, minor: str, version: str) -> None:
    chosen = catalogue.choose(project, minor)
    assert chosen
    assert chosen.version == version


@pytest.mark.parametrize("project", [name for name, network in NETWORKS.items() if network.upstream])
def test_every_minor_has_one_that_needs_no_plugin_of_others(project: str) -> None:
    for minor in range(20, 40):
        chosen = catalogue.choose(project, f"1.{minor}")
        assert chosen
        assert chosen.version != "v0.14.0"


def test_no_minor_no_manifest() -> None:
    assert catalogue.choose("flannel", "1.16") is None
    assert catalogue.choose("weave", "1.20") is None


@pytest.mark.parametrize("pinned", PINNED, ids=lambda item: item.title)
def test_pins(pinned: catalogue.Pinned) -> None:
    assert re.fullmatch("[0-9a-f]{64}", pinned.sha256)
    assert f"/{pinned.version}/" in pinned.url
    assert catalogue.by_digest(pinned.sha256) is catalogue.by_url(pinned.url) is pinned
    # Their sums are those of the copies beside the repository, or the test is skipped.
    assert manifest(pinned)


def test_the_readme_tells_which_is_chosen() -> None:
    for project in ("flannel", "canal"):
        chosen: dict[str, list[int]] = {}
        for minor in range(20, 40):
            pinned = catalogue.choose(project, f"1.{minor}")
            assert pinned
            chosen.setdefault(pinned.version, []).append(minor)
        for pinned in PINNED:
            if pinned.project == project:
                minors = chosen.get(pinned.version)
                span = ""
                if minors:
                    span = f"1.{minors[0]} to 1.{minors[-1]}" if minors[-1] < 39 else f"1.{minors[0]} and later"
                title = f"{'Canal' if project == 'canal' else 'flannel'} {pinned.version}"
                assert f"| {title} | {span} |".replace("  ", " ") in README.read_text()


def test_who_enforces_policies() -> None:
    table = {
        (name, wanted): no_enforcement(name, wanted) is None for name in NETWORKS for wanted in (None, True, False)
    }
    assert {key for key, enforced in table.items() if enforced} == {
        ("podnet", None),
        ("podnet", True),
        ("canal", None),
        ("canal", True),
    }
    flannel = no_enforcement("flannel", None) or ""
    assert flannel.startswith("cni: enforces no NetworkPolicy")
    assert "cni = 'canal' or 'podnet'" in flannel
    assert (no_enforcement("podnet", False) or "").startswith("network_policy: is False")


@pytest.mark.parametrize(
    ("api_version", "kind", "minor", "served"),
    [
        ("policy/v1beta1", "PodSecurityPolicy", "1.24", True),
        ("policy/v1beta1", "PodSecurityPolicy", "1.25", False),
        ("policy/v1", "PodDisruptionBudget", "1.20", False),
        ("policy/v1", "PodDisruptionBudget", "1.21", True),
        ("policy/v1beta1", "PodDisruptionBudget", "1.24", True),
        ("policy/v1beta1", "PodDisruptionBudget", "1.25", False),
        ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", "1.21", True),
        ("apiextensions.k8s.io/v1beta1", "CustomResourceDefinition", "1.22", False),
        ("rbac.authorization.k8s.io/v1beta1", "ClusterRole", "1.22", False),
        ("apps/v1", "DaemonSet", "1.36", True),
        ("crd.projectcalico.org/v1", "IPPool", "1.30", None),
    ],
)
def test_what_a_minor_serves(api_version: str, kind: str, minor: str, served: bool | None) -> None:
    assert api.is_served(api_version, kind, minor) is served
