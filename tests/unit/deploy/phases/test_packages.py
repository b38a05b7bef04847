"""Where packages come from."""

import pytest

from kubeproof.config.tables.systems import SYSTEMS
from kubeproof.deploy.phases import packages
from tests.unit.node.example import cluster


@pytest.mark.parametrize("url", ["https://mirror.example.net/k8s", "https://mirror.example.net/k8s/"])
@pytest.mark.parametrize(
    ("system", "setting", "key"),
    [("debian 12", "kubernetes_apt", "Release.key"), ("rhel 9", "kubernetes_rpm", "repodata/repomd.xml.key")],
)
def test_a_mirrors_key_is_where_the_projects_is(
    system: str, setting: str, key: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, str] = {}

    def note(name: str, source: str, _fingerprint: str) -> str:
        asked[name] = source
        return "key"

    monkeypatch.setattr(packages, "armoured_key", note)
    wanted = cluster(kubernetes_version="1.31.0", **{f"{setting}_url": url, f"{setting}_key": ""})
    assert packages.sources(wanted, SYSTEMS[system])
    assert asked[f"{setting}_key"] == f"https://mirror.example.net/k8s/{key}"


@pytest.mark.parametrize(
    ("system", "apparmor", "wanted"), [("debian 12", True, 1), ("debian 12", False, 0), ("rhel 9", True, 0)]
)
def test_apparmors_parser_comes_where_it_is_on(system: str, apparmor: bool, wanted: int) -> None:
    names = packages.wanted_packages(cluster().settings, SYSTEMS[system], apparmor=apparmor)
    assert list(names).count("apparmor") == wanted


@pytest.mark.parametrize(("mode", "wanted"), [("iptables", False), ("ipvs", True), ("nftables", False)])
def test_tools_of_ipvs_come_with_its_mode(mode: str, wanted: bool) -> None:
    names = packages.wanted_packages(cluster(kube_proxy_mode=mode).settings, SYSTEMS["debian 12"])
    assert ({"ipset", "ipvsadm"} <= set(names)) is wanted
