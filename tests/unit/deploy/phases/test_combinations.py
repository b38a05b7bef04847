"""A whole deploy for every system, runtime and version border that go together, and refusals of those that do not.

One deploy has a host of each system, so that a few dozen of them cover all.
"""

import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeproof.config.tables.version_traits import BORDERS
from tests.unit.deploy.phases.fake_cluster import FakeCluster, Run, blank_hosts, host_facts, ready_objects, sections
from tests.unit.deploy.phases.test_deploy import CHANGES, TRACEBACK
from tests.unit.networks import made_up

MINORS = (
    "1.20",
    "1.21",
    "1.22",
    "1.23",
    "1.24",
    "1.25",
    "1.26",
    "1.30",
    "1.31",
    "1.32",
    "1.33",
    "1.34",
    "1.35",
    "1.36",
    "1.37",
)
"""The first, the last, and both sides of every border (test_eras holds them against the table)."""


@dataclass(frozen=True)
class Host:
    """A host of one system, with what is known of it without asking the code."""

    name: str
    release: str
    packages: str
    docker: str
    containerd: str
    machine: str = "x86_64"
    kernel: str = "6.1.0"

    def goes_with(self, runtime: str, minor: int) -> bool:
        """Whether it is supported: as README.md's matrix says."""
        if runtime == "docker":
            return (self.name == "debian12") == (minor < 24) and not (self.name == "rocky8" and minor in (32, 33))
        if self.name == "rocky8" and minor in (32, 33):
            return False
        return not (minor >= 36 and self.name in ("debian12", "debian13"))


HOSTS = (
    Host("debian12", "debian 12", "deb", "docker.io", "containerd"),
    Host("debian13", "debian 13", "deb", "docker.io", "containerd", machine="aarch64"),
    Host("ubuntu22", "ubuntu 22.04", "deb", "docker.io", "containerd"),
    Host("ubuntu24", "ubuntu 24.04", "deb", "docker.io", "containerd", machine="aarch64"),
    Host("rocky8", "rocky 8.10", "rpm", "docker-ce", "containerd.io", kernel="4.18.0-553.el8_10.x86_64"),
    Host("alma9", "almalinux 9.6", "rpm", "docker-ce", "containerd.io", kernel="5.14.0-570.el9", machine="aarch64"),
)
APIS = {range(20, 22): "v1beta2", range(22, 31): "v1beta3", range(31, 38): "v1beta4"}
DNF_TABLE = "Installing:\n containerd.io x86_64 2.1 repo 1 M\n\nOperation aborted."


NETWORKS: dict[str, dict[str, object]] = {
    "podnet": {},
    "flannel": {"cni": "flannel"},
    "host-gw": {"cni": "flannel", "cni_backend": "host-gw"},
    "canal": {"cni": "canal"},
    "calico": {"cni": "calico", "cni_backend": "ipip"},
}
MANIFESTS = {"flannel": made_up.FLANNEL, "canal": made_up.CANAL, "calico": made_up.CALICO}
DAEMON_SETS = ("kube-system/podnet", "kube-flannel/kube-flannel-ds", "kube-system/canal", "kube-system/calico-node")


def number(minor: str) -> int:
    return int(minor.partition(".")[2])


def rules(hosts: tuple[Host, ...], minor: str) -> list[dict[str, object]]:
    """Answers of hosts without anything."""
    facts = [
        host_facts(
            host.name,
            address=f"192.0.2.{11 + place}",
            system=host.release,
            architecture=host.machine,
            kernel=host.kernel,
        )
        for place, host in enumerate(hosts)
    ]
    return [
        {"match": "dnf .*--assumeno", "success": False, "stdout": DNF_TABLE},
        {"match": "run now", "stdout": sections(now="Enforcing", at_boot="enforcing")},
        {"match": "run running", "stdout": sections(running="running", ports="22/tcp", sources="")},
        {
            "match": "kubeadm config images list",
            "when": ["packages"],
            "stdout": f"registry.example.net/kube-proxy:v{minor}.1\nregistry.example.net/etcd:3.5.0-0",
        },
        {"match": "dnf .*--assumeyes install", "sets": ["packages"]},
        {"match": "dpkg-query", "when": ["packages"], "stdout": f"install installed kubelet {minor}.1-1.1"},
        {"match": "cd /opt/cni/bin", "stdout": "bridge\nhost-local\nloopback\nportmap"},
        {"match": "get nodes,", "when": ["@api"], "stdout": json.dumps({"items": all_ready(hosts)})},
        *blank_hosts(facts, [host.name for host in hosts]),
    ]


def all_ready(hosts: tuple[Host, ...]) -> list[dict[str, Any]]:
    """A cluster in which every network is ready."""
    return ready_objects(*DAEMON_SETS, names=[host.name for host in hosts])


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stands for the release archive of cri-dockerd."""
    path = tmp_path_factory.mktemp("cri-dockerd") / "archive.tgz"
    content = b"#!/bin/sh\necho cri-dockerd\n"
    with tarfile.open(path, "w:gz") as tar:
        member = tarfile.TarInfo("cri-dockerd/cri-dockerd")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return path


def deployed(folder: Path, archive: Path, hosts: tuple[Host, ...], runtime: str, minor: str, **settings: object) -> Run:
    key = folder / "key.asc"
    fake = FakeCluster(
        folder,
        rules=rules(hosts, minor),
        addresses={host.name: f"192.0.2.{11 + place}" for place, host in enumerate(hosts)},
        settings={
            "kubernetes_version": f"{minor}.1",
            "container_runtime": runtime,
            "kubernetes_apt_url": "" if number(minor) >= 24 else "http://mirror.example.net/deb/",
            "kubernetes_rpm_url": "" if number(minor) >= 24 else "http://mirror.example.net/rpm/",
            "kubernetes_rpm_key": str(key),
            "runtime_rpm_key": str(key),
            "cri_dockerd_archive": str(archive),
            "insecure_registries": ["registry.example.net"],
            **settings,
        },
        environment={
            "FAKE_CLUSTER_CRI_DOCKERD": hashlib.sha256(archive.read_bytes()).hexdigest(),
            "XDG_CACHE_HOME": str(folder / "cache"),
        },
    )
    return fake.run("deploy.py", "-y")


def test_the_minors_here_are_the_borders_of_the_table() -> None:
    assert MINORS == BORDERS


def era(runtime: str, minor: str) -> tuple[str, bool, str]:
    """What of a version decides how a network is deployed: kubelet's way to the runtime, and kubeadm's API."""
    api = next(api for minors, api in APIS.items() if number(minor) in minors)
    return runtime, number(minor) < 24, api


def combinations() -> list[tuple[str, str, str]]:
    """Every minor with both runtimes, each time with the next network, and what then lacks of eras with networks."""
    pairs = [(runtime, minor) for runtime in ("docker", "containerd") for minor in MINORS]
    names = list(NETWORKS)
    chosen = [(*pair, names[place % len(names)]) for place, pair in enumerate(pairs)]
    for runtime, minor in pairs:
        seen = {network for other, its_minor, network in chosen if era(other, its_minor) == era(runtime, minor)}
        chosen += [(runtime, minor, network) for network in names if network not in seen]
    return chosen


def test_every_network_meets_every_runtime_in_every_era_and_every_system_in_each() -> None:
    chosen = combinations()
    assert len(set(chosen)) == len(chosen)
    met = {(era(runtime, minor), network) for runtime, minor, network in chosen}
    eras = {era(runtime, minor) for runtime, minor, _ in chosen}
    assert met == {(item, network) for item in eras for network in NETWORKS}
    for host in HOSTS:
        networks = {network for runtime, minor, network in chosen if host in hosts_that_go_with(runtime, minor)}
        assert networks == set(NETWORKS)


def hosts_that_go_with(runtime: str, minor: str) -> tuple[Host, ...]:
    """Those that are supported; each time another one is the first and so the control plane."""
    hosts = tuple(host for host in HOSTS if host.goes_with(runtime, number(minor)))
    place = MINORS.index(minor) % len(hosts)
    return (*hosts[place:], *hosts[:place])


def deployed_with(folder: Path, archive: Path, runtime: str, minor: str, network: str) -> Run:
    """A deploy on a host of each system that goes with them."""
    settings = dict(NETWORKS[network])
    if text := MANIFESTS.get(str(settings.get("cni"))):
        file = folder / "manifest.yaml"
        file.write_text(text)
        settings |= {"cni_manifest": str(file), "cni_manifest_sha256": hashlib.sha256(text.encode()).hexdigest()}
        settings |= {"podnet_image": "", "cni_image_repository": "docker.example.net"}
    return deployed(folder, archive, hosts_that_go_with(runtime, minor), runtime, minor, **settings)


@pytest.mark.parametrize(("runtime", "minor", "network"), combinations())
def test_deploy(runtime: str, minor: str, network: str, tmp_path: Path, archive: Path) -> None:
    ordered = hosts_that_go_with(runtime, minor)
    run = deployed_with(tmp_path, archive, runtime, minor, network)
    assert run.code == 0, run.output
    network_is_right(run, [host.name for host in ordered], number(minor), network)
    for host in ordered:
        packages_are_right(run, host, runtime, minor)
        runtime_is_right(run, host, runtime, number(minor))
        system_is_right(run, host, network)
    leader = ordered[0].name
    init = {item["kind"]: item for item in yaml.safe_load_all(content(run, leader, "kubeadm-init.yaml"))}
    for text in (
        item for item in run.commands if item.command and "kubeproof-join.yaml" in item.command and item.stdin
    ):
        init["JoinConfiguration"] = yaml.safe_load(text.stdin or "")
    kubeadm_is_right(init, runtime, number(minor))
    assert set(init) >= {
        "InitConfiguration",
        "ClusterConfiguration",
        *(["JoinConfiguration"] if len(ordered) > 1 else []),
    }


def content(run: Run, host: str, path: str) -> str:
    """What a file that was placed on a host holds."""
    texts = [item.stdin or "" for item in run.commands if item.host == host and item.file.endswith(path)]
    assert texts, f"{path} was not placed on {host}"
    return texts[-1]


def packages_are_right(run: Run, host: Host, runtime: str, minor: str) -> None:
    community = number(minor) >= 24
    base = f"https://pkgs.k8s.io/core:/stable:/v{minor}" if community else "http://mirror.example.net"
    runtime_package = host.docker if runtime == "docker" else host.containerd
    if host.packages == "deb":
        source = content(run, host.name, "sources.list.d/kubernetes.list")
        assert source == f"deb [signed-by=/etc/apt/keyrings/kubernetes.asc] {base}/deb/ /\n"
        install = command(run, host.name, r"apt-get .* install ")
        assert f" {runtime_package} kubeadm=" in install
        assert all(f" {name}={minor}.1-*" in install for name in ("kubeadm", "kubelet", "kubectl"))
        assert run.ran("apt-mark hold kubeadm kubelet kubectl", host.name)
        assert " conntrack " in install
        assert not run.ran(r"\bdnf\b.*install", host.name)
    else:
        source = content(run, host.name, "yum.repos.d/kubernetes.repo")
        assert f"baseurl={base}/rpm/\n" in source
        assert "exclude=kubeadm kubelet kubectl kubernetes-cni cri-tools\n" in source
        assert "gpgcheck=1\n" in source
        docker = content(run, host.name, "yum.repos.d/kubeproof-runtime.repo")
        major = host.release.split()[1].partition(".")[0]
        assert f"baseurl=https://download.docker.com/linux/centos/{major}/$basearch/stable\n" in docker
        install = command(run, host.name, r"dnf .*--assumeyes install ")
        assert "--disableexcludes=kubernetes" in install
        assert f" {runtime_package} kubeadm-" in install
        assert all(f" {name}-{minor}.1-*" in install for name in ("kubeadm", "kubelet", "kubectl"))
        assert " conntrack-tools " in install
        assert not run.ran("apt-get(?! update --print-uris)|apt-mark", host.name)
    with_crictl = runtime == "containerd" or number(minor) >= 24
    assert (" cri-tools" in install) == (with_crictl and number(minor) < 31)


def command(run: Run, host: str, pattern: str) -> str:
    places = [place for place in run.places(pattern, host) if "--simulate" not in run.commands[place].command]
    assert places, f"no {pattern} on {host}"
    return run.commands[places[-1]].command.replace("'", "")


def runtime_is_right(run: Run, host: Host, runtime: str, minor: int) -> None:
    placed = [item.file for item in run.commands if item.host == host.name and item.file]
    cri_dockerd = runtime == "docker" and minor >= 24
    assert ("/usr/local/bin/cri-dockerd" in placed) == cri_dockerd
    assert run.ran(rf"systemctl (start|enable|is-active) {runtime}.service", host.name)
    if runtime == "docker":
        daemon = json.loads(content(run, host.name, "/etc/docker/daemon.json"))
        assert daemon["exec-opts"] == ["native.cgroupdriver=systemd"]
        assert not any("/etc/containerd" in path for path in placed)
        assert run.ran("xargs .* docker pull", host.name)
    else:
        config = content(run, host.name, "/etc/containerd/config.toml")
        assert "SystemdCgroup = true" in config
        assert re.search(r'sandbox_image = "registry\.example\.net/pause:3\.', config)
        assert 'bin_dir = "/opt/cni/bin"' in config
        hosts_file = content(run, host.name, "certs.d/registry.example.net/hosts.toml")
        assert '[host."http://registry.example.net"]' in hosts_file
        assert "/etc/docker/daemon.json" not in placed
        assert run.ran("xargs .*ctr --namespace k8s.io images pull --hosts-dir /etc/containerd/certs.d", host.name)
    if runtime == "containerd" or cri_dockerd:
        socket = "cri-dockerd.sock" if cri_dockerd else "containerd/containerd.sock"
        assert f"runtime-endpoint: unix:///run/{socket}\n" in content(run, host.name, "crictl.yaml")
    if cri_dockerd:
        unit = content(run, host.name, "cri-docker.service")
        assert "--container-runtime-endpoint unix:///run/cri-dockerd.sock" in unit
        assert "--pod-infra-container-image=registry.example.net/pause:3." in unit


def network_is_right(run: Run, hosts: list[str], minor: int, network: str) -> None:
    cni = str(NETWORKS[network].get("cni", "podnet"))
    applied = {item["kind"]: item for item in yaml.safe_load_all(content(run, hosts[0], f"manifests/{cni}.yaml"))}
    assert run.ran(f"apply --filename .*/manifests/{cni}.yaml", hosts[0])
    for host in hosts:
        placed = [item.file for item in run.commands if item.host == host and item.file]
        assert ("/etc/tmpfiles.d/kubeproof-podnet.conf" in placed) == (network == "podnet")
    if network == "podnet":
        return
    data = applied["ConfigMap"]["data"]
    if network == "calico":
        assert data["CALICO_IPV4POOL_IPIP"] == "Always"
    else:
        backend = json.loads(data["net-conf.json"])["Backend"]
        assert backend == {"Type": "host-gw" if network == "host-gw" else "vxlan"}
    images = [item["image"] for item in applied["DaemonSet"]["spec"]["template"]["spec"]["containers"]]
    assert all(image.startswith("docker.example.net/") for image in images)
    for host in hosts:
        asked = " ".join(item.command for item in run.commands if item.host == host and "for image in" in item.command)
        assert all(image in asked for image in images)
        # The init container of Calico's project brings all that it calls.
        assert run.ran("cd /opt/cni/bin", host) == (network not in ("canal", "calico"))
    if network == "canal":
        assert applied["PodDisruptionBudget"]["apiVersion"] == ("policy/v1beta1" if minor < 21 else "policy/v1")


def system_is_right(run: Run, host: Host, network: str) -> None:
    red_hat = host.packages == "rpm"
    opened = run.ran("firewall-cmd .*--add-port=.*8472/udp", host.name)
    without_port = network in ("host-gw", "calico")
    assert opened == (red_hat and not without_port)
    assert run.ran("--zone=trusted --add-source=192.0.2.11", host.name) == (red_hat and without_port)
    assert run.ran("setenforce 0", host.name) == red_hat
    assert run.ran("firewall-cmd .*--add-port=10250/tcp", host.name) == red_hat
    assert run.ran("firewall-cmd --quiet --permanent --zone=trusted --add-source=10.244.0.0/16", host.name) == red_hat
    told = [item.stdin for item in run.commands if item.host == host.name and "NetworkManager.service" in item.command]
    assert bool(told) == red_hat
    assert all(
        "interface-name:cni0;interface-name:flannel.*;interface-name:flannel0;interface-name:cali*" in (text or "")
        for text in told
    )


def kubeadm_is_right(documents: dict[str, dict[str, object]], runtime: str, minor: int) -> None:
    api = next(api for minors, api in APIS.items() if minor in minors)
    sockets = {"containerd": "unix:///run/containerd/containerd.sock", "docker": "unix:///run/cri-dockerd.sock"}
    socket = sockets[runtime] if runtime == "containerd" or minor >= 24 else None
    for kind in ("InitConfiguration", "ClusterConfiguration", "JoinConfiguration"):
        if kind not in documents:
            continue
        assert documents[kind]["apiVersion"] == f"kubeadm.k8s.io/{api}"
        registration = documents[kind].get("nodeRegistration")
        if isinstance(registration, dict):
            assert registration.get("criSocket") == socket
            arguments = registration["kubeletExtraArgs"]
            assert isinstance(arguments, list if api == "v1beta4" else dict)
            assert ("pod-infra-container-image" in str(arguments)) == (minor < 35)


REFUSED: tuple[tuple[str, str, str, dict[str, object], str], ...] = (
    ("docker", "1.23", "debian13", {}, "has Docker 26 or newer, which kubelet 1.23 cannot speak with"),
    ("docker", "1.20", "alma9", {}, "has Docker 26 or newer, which kubelet 1.20 cannot speak with"),
    ("docker", "1.24", "debian12", {}, "has Docker 20, and cri-dockerd 0.3.24, which kubelet 1.24 needs, wants 23"),
    ("containerd", "1.36", "debian12", {}, "has containerd 1.6, and kubelet 1.36 wants 2.0 or newer"),
    ("containerd", "1.37", "debian13", {}, "has containerd 1.7, and kubelet 1.37 wants 2.0 or newer"),
    ("containerd", "1.32", "rocky8", {}, "has the kernel 4.18.0-553.el8_10.x86_64, and kubeadm 1.32 wants 4.19"),
    ("containerd", "1.20", "alma9", {"kubernetes_rpm_url": ""}, "needs rpm packages of Kubernetes 1.20"),
    ("containerd", "1.38", "debian12", {}, "kubernetes_version: is newer than any that is known here"),
    ("docker", "1.19", "debian12", {}, "kubernetes_version: is older than any that is known here"),
    ("crio", "1.31", "debian12", {}, "container_runtime: is not one of the choices (crio)"),
    ("containerd", "1.31", "debian12", {"insecure_registries": ["10.0.0.0/8"]}, "which containerd cannot take"),
    (
        "docker",
        "1.31",
        "debian13",
        {"cri_dockerd_archive": "/nowhere.tgz"},
        "cri_dockerd_archive: /nowhere.tgz cannot be read",
    ),
)


@pytest.mark.parametrize(("runtime", "minor", "name", "settings", "said"), REFUSED)
def test_what_does_not_go_together_is_refused_by_name(
    runtime: str, minor: str, name: str, settings: dict[str, object], said: str, tmp_path: Path, archive: Path
) -> None:
    hosts = tuple(host for host in HOSTS if host.name == name)
    run = deployed(tmp_path, archive, hosts, runtime, minor, **settings)
    assert run.code == 1
    assert said in run.output
    assert not run.ran(f"{CHANGES}|dnf .*install|firewall-cmd .*--add|setenforce")
    assert not any(item.file for item in run.commands)
    assert TRACEBACK not in run.output


def test_an_archive_of_something_else_is_refused_with_both_sums(tmp_path: Path, archive: Path) -> None:
    other = tmp_path / "other.tgz"
    other.write_bytes(b"no archive")
    run = deployed(tmp_path, archive, HOSTS[1:2], "docker", "1.31", cri_dockerd_archive=str(other))
    assert run.code == 1
    sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (other, archive)]
    assert f"its SHA-256 is {sums[0]}, not {sums[1]}" in run.output
    assert not any(item.file for item in run.commands)


@pytest.mark.parametrize("cgroups", ["tmpfs", "cgroup2fs"])
def test_cgroup_v1_is_refused_from_1_35_on(tmp_path: Path, archive: Path, cgroups: str) -> None:
    host = Host("alma9", "rhel 9.6", "rpm", "docker-ce", "containerd.io")
    fake_rules = rules((host,), "1.35")
    facts = host_facts("alma9", address="192.0.2.11", system=host.release, cgroups=cgroups)
    folder_key = str(tmp_path / "key.asc")
    fake = FakeCluster(
        tmp_path,
        rules=[facts, *fake_rules],
        addresses={"alma9": "192.0.2.11"},
        settings={
            "kubernetes_version": "1.35.1",
            "container_runtime": "containerd",
            "kubernetes_rpm_key": folder_key,
            "runtime_rpm_key": folder_key,
        },
    )
    run = fake.run("deploy.py", "-y")
    assert ("has cgroup v1, which kubelet 1.35 refuses" in run.output) == (cgroups == "tmpfs")
    assert run.code == (1 if cgroups == "tmpfs" else 0)


def test_proxies(tmp_path: Path, archive: Path) -> None:
    settings = {"http_proxy": "http://user:secret@proxy.example.net:3128", "no_proxy": [".example.org"]}
    run = deployed(tmp_path, archive, (HOSTS[0], HOSTS[5]), "containerd", "1.31", **settings)
    assert run.code == 0, run.output
    for host in ("debian12", "alma9"):
        environment = content(run, host, "/var/lib/kubeproof-node/proxy.env")
        assert "HTTPS_PROXY='http://user:secret@proxy.example.net:3128'" in environment
        exceptions = environment.partition("NO_PROXY='")[2].partition("'")[0].split(",")
        wanted = {"127.0.0.1", "192.0.2.0/24", "10.244.0.0/16", "10.1.0.0/16", ".svc", ".cluster.local"}
        assert {*wanted, ".example.org"} <= set(exceptions)
        drop_in = content(run, host, "containerd.service.d/kubeproof-proxy.conf")
        assert "EnvironmentFile=-/var/lib/kubeproof-node/proxy.env" in drop_in
    assert "Acquire::http::Proxy" in content(run, "debian12", "apt.conf.d/90kubeproof-proxy")
    (block,) = [
        item for item in run.commands if item.host == "alma9" and "/etc/dnf/dnf.conf" in item.command and item.stdin
    ]
    assert "proxy=http://user:secret@proxy.example.net:3128\n" in (block.stdin or "")
    assert "secret@" not in run.output
    assert not any("secret@" in item.command for item in run.commands)


@pytest.mark.parametrize(
    ("runtime", "minor"), [("docker", "1.23"), ("docker", "1.24"), ("containerd", "1.20"), ("containerd", "1.31")]
)
def test_reset_by_the_runtimes_own_means(runtime: str, minor: str, tmp_path: Path, archive: Path) -> None:
    hosts = tuple(
        host for host in HOSTS if host.name in ("debian12", "alma9") and host.goes_with(runtime, number(minor))
    )
    run = reset(tmp_path, archive, hosts, runtime, minor)
    assert run.code == 0, run.output
    cri = runtime == "containerd" or number(minor) >= 24
    for host in hosts:
        kubeadm = command(run, host.name, "kubeadm reset")
        socket = {"containerd": "unix:///run/containerd/containerd.sock", "docker": "unix:///run/cri-dockerd.sock"}[
            runtime
        ]
        assert kubeadm.endswith(f"--cri-socket {socket if cri else '/var/run/dockershim.sock'}")
        assert ("update-cluster-status" in kubeadm) == (number(minor) < 23)
        removed = "ctr --namespace k8s.io containers delete" if runtime == "containerd" else "docker rm --force"
        assert run.places(removed, host.name)[0] < run.places("kubeadm reset", host.name)[0]
        assert run.ran("rpm --query|dnf .* remove" if host.packages == "rpm" else "apt-get .* purge", host.name)
        assert run.ran(f"systemctl stop {runtime}.service", host.name)
        assert run.ran("setenforce 1", host.name) == (host.packages == "rpm")
        assert run.ran("firewall-cmd .*--remove-port=10250/tcp", host.name) == (host.packages == "rpm")


NOT_PREFLIGHT = r"(?s)^(?!.*machine_id).*"
"""Preflight asks all that it wants to know of a host in one script."""


def reset(folder: Path, archive: Path, hosts: tuple[Host, ...], runtime: str, minor: str) -> Run:
    package = {host.name: host.docker if runtime == "docker" else host.containerd for host in hosts}
    opened = "10250/tcp 10256/tcp 8472/udp"
    remembered = [
        {
            "host": host.name,
            "match": r"cat \S*before.json$",
            "stdout": json.dumps({"packages": [package[host.name]], "selinux": "Enforcing", "firewalld": ["running"]}),
        }
        for host in hosts
    ]
    fake = FakeCluster(
        folder,
        rules=[
            *remembered,
            {"match": NOT_PREFLIGHT + "ls -d .*admin.conf", "stdout": "/etc/kubernetes/kubelet.conf"},
            {
                "match": NOT_PREFLIGHT + "rpm --query --queryformat",
                "stdout": "containerd.io installed\ndocker-ce installed",
            },
            {"match": NOT_PREFLIGHT + "dpkg-query .*db:Status-Status", "stdout": f"{package[hosts[0].name]} installed"},
            {"match": "run now", "stdout": sections(now="Permissive", at_boot="permissive")},
            {
                "match": "run running",
                "stdout": sections(running="running", ports=opened, sources="10.244.0.0/16"),
            },
            {"match": "dnf .*--assumeno", "success": False, "stdout": "Operation aborted."},
            {"match": NOT_PREFLIGHT + "property SubState", "stdout": f"Id={runtime}.service\nSubState=running"},
            *rules(hosts, minor),
        ],
        addresses={host.name: f"192.0.2.{11 + place}" for place, host in enumerate(hosts)},
        settings={
            "kubernetes_version": f"{minor}.1",
            "container_runtime": runtime,
            "kubernetes_rpm_url": "https://mirror.example.net/rpm/",
        },
    )
    del archive
    return fake.run("reset.py", "-y")
