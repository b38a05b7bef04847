"""One setting makes all deadlines against hosts longer: of the deploy, of kubeadm, and of what looks at a cluster."""

import re
from collections.abc import Iterator

import pytest
import yaml

from kubeproof.config import patience
from kubeproof.config.cluster import cluster_from
from kubeproof.config.inventory_check import Contents, HostEntry
from kubeproof.config.patience import patient, patiently
from kubeproof.config.settings import parse
from kubeproof.deploy.facts.kubernetes import Objects
from kubeproof.deploy.operations.remote import exclusively
from kubeproof.deploy.probing import packets
from kubeproof.node.joining import Credentials
from kubeproof.node.kubeadm_config import init_config, join_config
from kubeproof.node.parts import parts
from kubeproof.proof import probe
from kubeproof.rules import api
from kubeproof.state import collector
from kubeproof.state.part import Asker
from kubeproof.terminal.errors import UserError
from kubeproof.walkthrough import attempt
from tests.unit.node.example import RAW, cluster

MADE = Credentials("abcdef.0123456789abcdef", "sha256:x")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    patience.use(1.0)


@pytest.mark.parametrize(("factor", "seconds", "wanted"), [(1.0, 8, 8), (2.5, 5, 13), (0.5, 1.0, 1), (20, 240, 4800)])
def test_whole_seconds(factor: float, seconds: float, wanted: int) -> None:
    patience.use(factor)
    assert patient(seconds) == wanted


@pytest.mark.parametrize("value", [0.5, 1, 1.0, 3.5, 20])
def test_what_it_can_be(value: float) -> None:
    assert parse({**RAW, "patience": value}).patience == value


@pytest.mark.parametrize("value", [0, 0.4, 21, -1, float("inf"), float("nan"), True, "2", None])
def test_what_it_cannot_be(value: object) -> None:
    with pytest.raises(UserError, match=r"use 0\.5 to 20"):
        parse({**RAW, "patience": value})


def test_an_inventory_that_is_read_says_it() -> None:
    data = {**RAW, "patience": 3.0, "address": "192.0.2.11"}
    cluster_from(Contents((HostEntry("master", ("control_plane",), data),), frozenset()))
    assert patience.factor() == 3.0


def test_commands_on_hosts() -> None:
    patience.use(3.0)
    assert exclusively(["true"])[:3] == ["flock", "--wait", "900"]
    assert "--request-timeout 30s" in Objects().command()
    assert api.kubelets_command({}).count("--max-time 12 ") == 1
    asked = {part.field: part.text for part in parts(Asker.PROOF | Asker.DOCTOR)}
    assert all("WITHIN=15\n" in asked[name] for name in ("kubelet", "control_plane"))
    assert "--max-time 12 " in probe.curl("http://192.0.2.11/")
    assert attempt.ping("192.0.2.11")[-2] == "6"
    assert "--request-timeout=24s" in patiently(collector.build({"api": api.command()}, marker="x", timeout=patient(8)))
    words = packets.command("a", "listen", 8472, {"b": "192.0.2.12"})
    assert words[6:] == ["90", "a", "listen", "8472", "18", "b=192.0.2.12"]


@pytest.mark.parametrize("version", ["1.20.2", "1.22.0", "1.31.0"])
def test_kubeadm(version: str) -> None:
    usual, slow = (cluster(kubernetes_version=version, patience=factor) for factor in (1.0, 2.5))
    assert not re.search("(?i)timeout", init_config(usual) + join_config(usual, usual.nodes[1], MADE))
    init, of_cluster, kubelet, _ = yaml.safe_load_all(init_config(slow))
    assert kubelet["runtimeRequestTimeout"] == "300s"
    join = yaml.safe_load(join_config(slow, slow.nodes[1], MADE))
    if version == "1.31.0":
        assert init["timeouts"] == join["timeouts"]
        assert init["timeouts"]["controlPlaneComponentHealthCheck"] == "600s"
        assert set(init["timeouts"]) == {
            *("controlPlaneComponentHealthCheck", "kubeletHealthCheck", "kubernetesAPICall", "etcdAPICall"),
            *("tlsBootstrap", "discovery"),
        }
    else:
        assert of_cluster["apiServer"]["timeoutForControlPlane"] == "600s"
        assert join["discovery"]["timeout"] == "750s"
