"""Which manifest a Kubernetes version gets."""

import re
from dataclasses import replace

import pytest

from kubeproof.cli import reference_tables
from kubeproof.config.network_conflicts import no_enforcement
from kubeproof.config.settings import parse
from kubeproof.config.tables import version_traits
from kubeproof.networks import api, registry
from kubeproof.networks.manifest import Pinned
from kubeproof.networks.plan import of_template
from kubeproof.networks.registry import NETWORKS, PINNED
from kubeproof.rules.before_deploy import network_obstacles
from kubeproof.rules.before_deploy.inspection import Inspection
from tests.unit.networks.upstream import manifest
from tests.unit.node.example import RAW, cluster


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
        ("calico", "1.22", "v3.24.6"),
        ("calico", "1.34", "v3.32.1"),
    ],
)
def test_the_newest_that_fits(project: str, minor: str, version: str) -> None:
    chosen = registry.choose(project, minor)
    assert chosen
    assert chosen.version == version


@pytest.mark.parametrize("project", [name for name, network in NETWORKS.items() if network.manifest])
def test_every_minor_has_one_that_needs_no_plugin_of_others(project: str) -> None:
    for minor in range(20, 40):
        chosen = registry.choose(project, f"1.{minor}")
        assert chosen
        assert chosen.version != "v0.14.0"


def test_no_minor_no_manifest() -> None:
    assert registry.choose("flannel", "1.16") is None
    assert registry.choose("weave", "1.20") is None


@pytest.mark.parametrize("pinned", PINNED, ids=lambda item: item.title)
def test_pins(pinned: Pinned) -> None:
    assert re.fullmatch("[0-9a-f]{64}", pinned.sha256)
    assert f"/{pinned.version}/" in pinned.url
    assert registry.by_digest(pinned.sha256) is registry.by_url(pinned.url) is pinned
    # Their sums are those of the copies beside the repository, or the test is skipped.
    assert manifest(pinned)


@pytest.mark.parametrize(
    ("version", "minor", "tried"),
    [
        ("v0.14.0", "1.20", True),
        ("v0.20.2", "1.20", True),
        ("v0.28.9", "1.36", True),
        ("v3.24.6", "1.20", False),
        ("v3.24.6", "1.21", False),
        ("v3.24.6", "1.22", True),
        ("v3.24.6", "1.25", True),
        ("v3.24.6", "1.26", False),
        ("v3.32.1", "1.31", False),
        ("v3.32.1", "1.34", True),
        ("v3.32.1", "1.37", False),
    ],
)
def test_what_is_neither_named_nor_run_is_doubted(version: str, minor: str, tried: bool) -> None:
    which = next(item for item in PINNED if item.version == version)
    assert which.is_tried(minor) is tried
    doubt = registry.doubt(which, minor)
    assert (doubt is None) is tried
    if doubt:
        found, breaks = doubt
        assert f"by its project, and was not run here with {minor}" in found
        assert ("EndpointSlices of discovery.k8s.io/v1" in breaks) is (minor == "1.20")


@pytest.mark.parametrize("project", ["canal", "calico"])
def test_what_was_never_run_as_published(project: str) -> None:
    assert [item.run for item in PINNED if item.project == project] == [(), ()]


def test_the_doubt_is_a_finding_that_can_be_ignored() -> None:
    which = next(item for item in PINNED if item.version == "v3.24.6")
    network = replace(of_template(cluster().settings), doubt=registry.doubt(which, "1.20"))
    (finding,) = network_obstacles.findings(Inspection(cluster(cni="canal"), network=network))
    assert (finding.name, finding.severity) == ("cni-untried", "error")
    assert "ignore_findings = ['cni-untried']" in finding.remedy
    assert "v3.20 and v3.21" in finding.remedy
    assert parse({**RAW, "ignore_findings": ["cni-untried"]}).ignore_findings == ("cni-untried",)
    assert not list(network_obstacles.findings(Inspection(cluster(), network=of_template(cluster().settings))))


def test_the_table_says_each_pair() -> None:
    table = reference_tables.manifests_table(version_traits.ERAS)
    assert "| Canal v3.24.6 | 1.22 to 1.25 |  | 1.22 to 1.25 | 1.20 to 1.21, 1.26 to 1.30 |" in table
    assert "| flannel v0.20.2 | 1.17 and later | 1.20 | 1.20 to 1.24 |  |" in table


def test_who_enforces_policies() -> None:
    table = {
        (name, wanted): no_enforcement(name, wanted) is None for name in NETWORKS for wanted in (None, True, False)
    }
    assert {key for key, enforced in table.items() if enforced} == {
        ("podnet", None),
        ("podnet", True),
        ("canal", None),
        ("canal", True),
        ("calico", None),
        ("calico", True),
    }
    flannel = no_enforcement("flannel", None) or ""
    assert flannel.startswith("cni: enforces no NetworkPolicy")
    assert "cni = 'calico' or 'canal' or 'podnet'" in flannel
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
