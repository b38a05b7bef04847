import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubeproof.rules.before_deploy import clocks, disks, identity, machines
from kubeproof.rules.before_deploy.inspection import Reading
from kubeproof.state.hostfiles import DiskUsage
from tests.unit.node.example import cluster
from tests.unit.rules.fit import DISKS, found, inspection, only

V1 = ("cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")


@pytest.mark.parametrize(
    ("host", "facts", "expected"),
    [
        ("node1", {"system": "ubuntu 20.04"}, ("os", "error")),
        ("node1", {"system": ""}, ("os", "error")),
        ("node1", {"architecture": "riscv64"}, ("architecture", "error")),
        ("node1", {"uid": 1000}, ("root", "error")),
        ("node1", {"init": "openrc-init"}, ("init", "error")),
        ("master", {"memory_mib": 1699}, ("memory", "error")),
        ("master", {"memory_mib": 1700}, None),
        ("node1", {"memory_mib": 1699}, ("memory", "warning")),
        ("master", {"cores": 1}, ("cores", "error")),
        ("node1", {"cores": 1}, None),
        # The deploy turns it off by itself, but for a machine's around a container.
        ("node1", {"swaps": ("/dev/sda2",)}, None),
        ("node1", {"swaps": ("/dev/sda2",), "container": "lxc"}, ("swap", "error")),
        ("node1", {"controllers": ("cpuset", "cpu", "io", "pids")}, ("cgroups", "error")),
        ("node1", {"cgroups": "tmpfs", "controllers": V1}, None),
        ("node1", {"cgroups": "tmpfs", "controllers": V1[1:]}, ("cgroups", "error")),
    ],
)
def test_machine(host: str, facts: dict[str, Any], expected: tuple[str, str] | None) -> None:
    wanted = [(expected[0], host, expected[1])] if expected else []
    assert found(machines.findings, inspection(**{host: facts})) == wanted


def test_flannels_udp_is_for_amd64() -> None:
    wanted = cluster(cni="flannel", cni_backend="udp")
    assert found(machines.findings, inspection(wanted)) == []
    looked_at = inspection(wanted, node1={"architecture": "arm64"})
    assert found(machines.findings, looked_at) == [("architecture", "node1", "error")]


@pytest.mark.parametrize("version", ["1.34.0", "1.35.0"])
def test_cgroup_v1_is_refused_from_1_35_on(version: str) -> None:
    wanted = cluster(kubernetes_version=version)
    looked_at = inspection(wanted, node1={"cgroups": "tmpfs", "controllers": V1})
    assert found(machines.findings, looked_at) == ([("cgroups", "node1", "error")] if version == "1.35.0" else [])


@pytest.mark.parametrize(
    ("facts", "warned"), [({}, True), ({"container": "lxc"}, False), ({"cgroups": "tmpfs", "controllers": V1}, False)]
)
def test_two_managers_of_one_tree(facts: dict[str, Any], warned: bool) -> None:
    looked_at = inspection(cluster(cgroup_driver="cgroupfs"), node1=facts)
    here = [item for item in found(machines.findings, looked_at) if item[1] == "node1"]
    assert here == ([("cgroup-driver", "node1", "warning")] if warned else [])
    assert found(machines.findings, inspection(node1=facts)) == []


class TestDisks:
    @pytest.mark.parametrize(
        ("free", "kubelet", "severity", "said"),
        [
            (2900, "", "error", "and kubelet takes no pods with less than 15 % free"),
            (2900, "1.20.2", "warning", "and kubelet takes no pods with less than 15 % free"),
        ],
    )
    def test_little_in_part(self, free: int, kubelet: str, severity: str, said: str) -> None:
        rooms = tuple(DiskUsage(room.path, room.kind, 20000, free, "/") for room in DISKS)
        finding = only(disks.findings, inspection(master={"disks": rooms, "kubelet_version": kubelet}))
        assert (finding.name, finding.severity, finding.breaks) == ("disk-space", severity, said)
        assert "2900 MiB free of 20000 for /var/lib/containerd, /var/lib/docker, /var/lib/etcd" in finding.found

    @pytest.mark.parametrize("kubelet", ["", "1.20.2"])
    def test_little_in_all(self, kubelet: str) -> None:
        """A node has its packages and images."""
        rooms = tuple(DiskUsage(room.path, room.kind, 4000, 3000, "/") for room in DISKS)
        assert len(found(disks.findings, inspection(node1={"disks": rooms, "kubelet_version": kubelet}))) == (
            not kubelet
        )

    def test_file_systems_of_their_own(self) -> None:
        rooms = (*DISKS[:2], DiskUsage("/var/lib/etcd", "xfs", 1000, 50, "/var/lib/etcd"))
        assert found(disks.findings, inspection(node1={"disks": rooms})) == []
        finding = only(disks.findings, inspection(master={"disks": rooms}))
        assert finding.found == "has 50 MiB free of 1000 for /var/lib/etcd (at /var/lib/etcd)"

    def test_pods_need_less_than_images(self) -> None:
        rooms = (*DISKS[:2], DiskUsage("/var/lib/kubelet", "xfs", 1000, 120, "/var/lib/kubelet"))
        assert found(disks.findings, inspection(node1={"disks": rooms})) == []

    @pytest.mark.parametrize(
        ("config", "full", "wrong"),
        [
            ("", "/var/lib/docker", 1),
            ('{"data-root": "/data/docker"}', "/var/lib/docker", 0),
            ('{"data-root": "/data/docker/"}', "/data/docker", 1),
            ('{"graph": "/data/docker"}', "/data/docker", 1),
            ('\ufeff{"data-root": "/data/docker"}', "/var/lib/docker", 0),
            ('{"features": {"containerd-snapshotter": true}}', "/var/lib/docker", 0),
            ('{"features": {"containerd-snapshotter": true}}', "/var/lib/containerd", 1),
            ("", "/var/lib/containerd", 0),
        ],
    )
    def test_where_docker_keeps_images(self, config: str, full: str, wrong: int) -> None:
        rooms = (*DISKS, DiskUsage("/data/docker", "xfs", 20000, 15000, "/"))
        here = tuple(DiskUsage(room.path, room.kind, 8000, 900, full) if room.path == full else room for room in rooms)
        expected = [("disk-space", "node1", "error")] * wrong
        assert found(disks.findings, inspection(node1={"docker_config": config, "disks": here})) == expected

    def test_inodes(self) -> None:
        rooms = tuple(replace(room, inodes=1000, free_inodes=40) for room in DISKS)
        finding = only(disks.findings, inspection(node1={"disks": rooms}))
        assert finding.found.startswith("has 40 inodes free of 1000 for /var/lib/containerd")
        made_as_needed = tuple(replace(room, kind="btrfs") for room in DISKS)
        assert found(disks.findings, inspection(node1={"disks": made_as_needed})) == []

    def test_a_folder_with_a_blank_is_quoted(self) -> None:
        rooms = (DiskUsage("/var/lib/docker", "xfs", 8000, 900, "/srv/my disk"), *DISKS[2:])
        assert "2 '/srv/my disk' |" in only(disks.findings, inspection(node1={"disks": rooms})).remedy

    def test_overlay_on_overlay(self) -> None:
        rooms = (DiskUsage("/var/lib/docker", "overlayfs", 20000, 15000, "/"), *DISKS[2:])
        assert found(disks.findings, inspection(node1={"disks": rooms})) == [("storage-driver", "node1", "error")]


class TestClocks:
    @staticmethod
    def ahead(master: float, node1: float, node2: float, uncertain: float = 0.0) -> dict[str, Reading]:
        offsets = {"master": master, "node1": node1, "node2": node2}
        return {name: Reading(offset, uncertain) for name, offset in offsets.items()}

    def test_one_is_told_from_the_median_however_far_all_are_from_here(self) -> None:
        clock = self.ahead(3600, 3570, 3601)
        finding = only(clocks.findings, inspection(clocks=clock))
        assert (finding.host, finding.found) == ("node1", "has a clock 30 s behind the median of all hosts")

    def test_what_the_way_takes_is_no_skew(self) -> None:
        assert found(clocks.findings, inspection(clocks=self.ahead(0, 12, 0, uncertain=3))) == []
        assert found(clocks.findings, inspection(clocks=self.ahead(0, 9.9, 0))) == []
        assert len(found(clocks.findings, inspection(clocks=self.ahead(0, 12, 0, uncertain=1)))) == 1

    def test_two_hosts(self) -> None:
        clock = {"master": Reading(0, 0), "node1": Reading(12, 0)}
        assert found(clocks.findings, inspection(clocks=clock)) == [("clock-skew", "node1", "error")]

    def test_one_that_cannot_be_read(self) -> None:
        clock = {**self.ahead(0, 0, 0), "node2": None}
        assert found(clocks.findings, inspection(clocks=clock)) == [("clock-skew", "node2", "warning")]


@pytest.mark.parametrize(
    ("system", "title", "shown"),
    [
        ("centos 9", "CentOS Stream 9", "runs CentOS Stream 9 (centos 9)"),
        ("ol 9.5", "", "runs ol 9.5"),
        ("debian", "Debian GNU/Linux trixie/sid", "runs Debian GNU/Linux trixie/sid (debian)"),
        ("", "", "runs an unknown system"),
    ],
)
def test_a_system_that_is_not_known_is_named_and_those_that_are(system: str, title: str, shown: str) -> None:
    (finding,) = [
        item
        for item in machines.findings(inspection(node1={"system": system, "system_title": title}))
        if item.name == "os"
    ]
    assert finding.found == shown
    assert "like it" not in finding.remedy
    assert all(
        name in finding.remedy for name in ("Debian 13", "Ubuntu 24.04", "RHEL 9", "Rocky Linux 9", "AlmaLinux 8")
    )


class TestIdentity:
    @pytest.mark.parametrize(
        ("facts", "expected"),
        [
            ({"hostname": "localhost.localdomain"}, ["hostname"]),
            ({"hostname": "my_host"}, ["hostname"]),
            ({"hostname": "ip-192-0-2-12"}, []),
            ({"hostname": "ip-192-0-2-12", "own_addresses": ()}, ["name-resolution"]),
            # The deploy writes the nodes' names into /etc/hosts.
            ({"own_addresses": ()}, []),
            ({"hostname": "", "own_addresses": ()}, []),
        ],
    )
    def test_own_name(self, facts: dict[str, Any], expected: list[str]) -> None:
        wanted = [(name, "node1", "warning") for name in expected]
        assert found(identity.findings, inspection(node1=facts)) == wanted

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("198.51.100.7 node2", "has `198.51.100.7 node2` in /etc/hosts, and the inventory says 192.0.2.13"),
            ("127.0.1.1 node2.example.net node2 # mine", "has `127.0.1.1 node2` in /etc/hosts"),
            ("192.0.2.11 node1", "has `192.0.2.11 node1` in /etc/hosts"),
            ("127.0.1.1 node1", ""),
            ("192.0.2.13 node2", ""),
            ("# 198.51.100.7 node2", ""),
            ("   198.51.100.7   node2", "has `198.51.100.7 node2` in /etc/hosts"),
            ("\t198.51.100.7\tother\tNODE2 # old", "has `198.51.100.7 node2` in /etc/hosts"),
            ("198.51.100.7 Node2.", "has `198.51.100.7 node2` in /etc/hosts"),
            ("198.51.100.7 node2\r", "has `198.51.100.7 node2` in /etc/hosts"),
            ("198.51.100.7 node2 node2", "has `198.51.100.7 node2` in /etc/hosts"),
            ("::ffff:198.51.100.7 node2", "has `::ffff:198.51.100.7 node2` in /etc/hosts"),
            # getent gives 127.0.0.1 for it where IPv4 is asked for.
            ("::1 node2", "has `::1 node2` in /etc/hosts"),
            ("::1 node1 localhost ip6-localhost", ""),
            ("fd00::9 node2", ""),
            ("198.51.100.7 node2.example.net # node2", ""),
            ("192.0.2.12 localhost", "has `192.0.2.12 localhost` in /etc/hosts, and programs of this host"),
            # The C library takes none of these: leading zeros, a byte order mark, a blank that is none.
            ("198.051.100.7 node2", ""),
            ("\ufeff198.51.100.7 node2", ""),
            ("198.51.100.7\u00a0node2", ""),
            ("# BEGIN kubeproof: nodes of the cluster\n198.51.100.7 node2\n# END kubeproof", ""),
        ],
    )
    def test_hosts_file(self, line: str, said: str) -> None:
        findings = list(identity.findings(inspection(node1={"hosts_file": f"127.0.0.1 localhost\n\n{line}\n"})))
        assert [item.found.startswith(said) for item in findings] == ([True] if said else [])

    @pytest.mark.parametrize(
        ("line", "left"),
        [
            ("198.51.100.7 node2", ""),
            ("198.51.100.7\tnode2  # x", ""),
            ("  198.51.100.7\tNode2 node2. node2", ""),
            ("198.51.100.7 node2\r", ""),
            ("198.51.100.7 node22 node2 node2.example.net # node2", "198.51.100.7 node22 node2.example.net # node2\n"),
            ("198.51.100.7 node2\n\n 198.51.100.7 other node2#x", "\n 198.51.100.7 other#x\n"),
            ("::FFFF:198.51.100.7 node2", ""),
            ("198.51.100.7 node2\n198.51.100.77 other", "198.51.100.77 other\n"),
            ("198.51.100.7 node2.example.net node2", "198.51.100.7 node2.example.net\n"),
            ("198.51.100.7 node2 other", "198.51.100.7 other\n"),
        ],
    )
    def test_the_command_mends_it(self, line: str, left: str, tmp_path: Path) -> None:
        file = tmp_path / "hosts"
        file.write_text(f"127.0.0.1 localhost\n{line}\n192.0.2.13 node2\n", newline="")
        (finding,) = set(identity.findings(inspection(node1={"hosts_file": file.read_text()})))
        command = finding.remedy.removeprefix("run `").removesuffix("` there").replace("/etc/hosts", str(file))
        subprocess.run(["sh", "-c", command], check=True)
        assert file.read_text() == f"127.0.0.1 localhost\n{left}192.0.2.13 node2\n"
        assert found(identity.findings, inspection(node1={"hosts_file": file.read_text()})) == []

    @pytest.mark.parametrize(
        ("field", "name"),
        [
            ("hostname", "duplicate-hostname"),
            ("machine_id", "duplicate-machine-id"),
            ("product_uuid", "duplicate-product-uuid"),
        ],
    )
    def test_twins(self, field: str, name: str) -> None:
        same = "node1" if field == "hostname" else "same"
        looked_at = inspection(node1={field: same}, node2={field: same, "own_addresses": ()})
        assert found(identity.findings, looked_at) == [(name, "node1, node2", "error")]

    def test_containers_share_their_machines_uuid(self) -> None:
        same = {"product_uuid": "same", "container": "systemd-nspawn"}
        assert found(identity.findings, inspection(node1=same, node2=same)) == []
