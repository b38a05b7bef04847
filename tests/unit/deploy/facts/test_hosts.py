"""Facts that ask several questions at once, and what their scripts do in a real shell."""

import subprocess
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from pyinfra.api.exceptions import FactProcessError

from kubeproof.deploy.facts.files import Existing, NotEmpty, Text
from kubeproof.deploy.facts.hosts import Before, Host, Remembered
from kubeproof.deploy.facts.kubernetes import ControlPlane, ControlPlaneState, KubeconfigOf, MembershipState, Objects
from kubeproof.deploy.facts.network import ClusterLinks, IptablesRules, RoutesInto
from kubeproof.node.record import Record
from kubeproof.state.hostfiles import DiskUsage, Identity
from kubeproof.state.iptables import Ruleset
from kubeproof.state.node import NodeState
from tests.unit.deploy.phases.fake_cluster import sections as answered


def shell(script: str) -> list[str]:
    """Lines that a script prints; it has to succeed, or pyinfra would give up the host."""
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


class TestHost:
    def test_answers(self) -> None:
        output = answered(
            system="debian 12",
            system_title="Debian GNU/Linux 12 (bookworm)",
            uid="0",
            swaps="Filename Type\n/dev/sda2 partition",
            identity="hostname=node1\nmachine_id=abc\nproduct_uuid=4C4C\ncontainer=systemd-nspawn",
            remembered="/var/lib/kubeproof-node/before.json",
            memory_mib="4039544",
            cores="2",
            init="systemd",
            controllers="rw,nosuid,cpu,cpuacct\nrw,pids",
            disks="/var/lib/docker ext2/ext3 1000 900 /dev/sda1 20480000 5120000 15360000 25% /srv/my disk\n"
            "/data nfs 0 0 //nas/my share 2048 1024 1024 50% /data\n/odd autofs 0 0 systemd-1 - - - - /odd",
            own_addresses="192.0.2.11\n192.0.2.11",
            hosts_file="127.0.0.1 localhost\n192.0.2.11 node1\n",
            resolvers="192.0.2.53",
            packages="docker.io\nrunc",
            services="cron.service\nk3s.service",
            others_pods="0123456789ab",
            kubelet_version="Kubernetes v1.20.2",
            cri_socket='"--container-runtime-endpoint=unix:///run/x.sock',
            iptables="# iptables v1.8.9 (nf_tables)\n*nat\nCOMMIT",
            apparmor="installable",
            other_iptables="# iptables v1.8 (legacy)\n*nat\n:A - [0:0]\n-A A -j DROP\nCOMMIT\n"
            "*filter\n:INPUT ACCEPT [0:0]\nCOMMIT\n*raw\n:OUTPUT DROP [0:0]\nCOMMIT",
        )
        found = Host().process(output.splitlines())
        assert (found.iptables.variant, found.other_iptables.used_tables) == ("nf_tables", ("nat", "raw"))
        assert replace(found, iptables=Ruleset(), other_iptables=Ruleset(), unreadable={}) == NodeState(
            "",
            system="debian 12",
            system_title="Debian GNU/Linux 12 (bookworm)",
            uid=0,
            swaps=("/dev/sda2",),
            identity=Identity("node1", "abc", "4c4c", "systemd-nspawn"),
            remembered=True,
            memory_mib=3944,
            cores=2,
            init="systemd",
            controllers=("rw", "nosuid", "cpu", "cpuacct", "pids"),
            disks=(
                DiskUsage("/var/lib/docker", "ext2/ext3", 20000, 15000, "/srv/my disk", 1000, 900),
                DiskUsage("/data", "nfs", 2, 1, "/data"),
            ),
            own_addresses=("192.0.2.11",),
            hosts_file="127.0.0.1 localhost\n192.0.2.11 node1\n",
            resolvers=("192.0.2.53",),
            packages=("docker.io", "runc"),
            services=("cron.service", "k3s.service"),
            others_pods=True,
            kubelet_version="1.20.2",
            cri_socket="///run/x.sock",
            apparmor="installable",
        )

    def test_answers_of_its_network(self) -> None:
        output = answered(
            cni_files="10-flannel.conflist",
            network_files="/run/flannel/subnet.env",
            plugins="bridge",
            udp_ports="0.0.0.0:8472\n[::]:8472\n127.0.0.1:323",
            tcp_ports="*:6443",
            virtual_servers="Prot LocalAddress:Port Scheduler Flags\nTCP  0A600001:01BB rr\n"
            "  -> 0A630001:1770      Masq    1      0          0\nUDP  0A600035:0035 rr\nTCP  [fd00::1]:0050 rr",
        )
        found = Host().process(output.splitlines())
        assert (found.cni_files, found.plugins) == (("10-flannel.conflist",), ("bridge",))
        assert found.network_files == ("/run/flannel/subnet.env",)
        assert (found.udp_ports, found.tcp_ports) == ((323, 8472), (6443,))
        assert list(map(str, found.virtual_servers)) == ["tcp 10.96.0.1:443", "udp 10.96.0.53:53"]
        assert list(map(str, found.virtual_servers[0].in_use)) == ["10.99.0.1:6000"]

    @pytest.mark.parametrize(
        ("version", "variant"),
        [("iptables v1.8.7 (legacy)", "legacy"), ("iptables v1.6.1", "legacy"), ("", "")],
    )
    def test_variants_of_iptables(self, version: str, variant: str) -> None:
        assert Host().process(answered(uid="0", iptables=f"# {version}").splitlines()).iptables.variant == variant

    def test_cgroup_v2_names_its_controllers_in_a_line(self) -> None:
        found = Host().process(answered(uid="0", controllers="cpuset cpu io memory pids").splitlines())
        assert found.controllers == ("cpuset", "cpu", "io", "memory", "pids")

    def test_an_odd_answer_hides_no_other(self) -> None:
        disks = "/var fuse x - - - - /\n/var/lib ext4 9 8 /dev/my disk 2048 1024 1024 50% /var/lib/a b"
        odd = answered(uid="nobody", memory_mib="lots", cores="", disks=disks, kernel="6.1")
        found = Host().process(odd.splitlines())
        assert (found.uid, found.memory_mib, found.cores, found.kernel) == (-1, 0, 0, "6.1")
        assert found.disks == (DiskUsage("/var/lib", "ext4", 2, 1, "/var/lib/a b", 9, 8),)

    def test_what_cannot_be_read_fails_the_host_and_not_the_run(self) -> None:
        with pytest.raises(FactProcessError, match="damaged"):
            Remembered().process(["{"])
        with pytest.raises(FactProcessError, match="damaged"):
            Remembered().process(['{"unknown": 1}'])
        with pytest.raises(FactProcessError):
            Objects().process(["{}"])

    @pytest.mark.parametrize(
        ("text", "system", "title"),
        [
            ("ID='ol'\nVERSION_ID=\"9.5\"\nPRETTY_NAME='Oracle Linux'\n", "ol 9.5", "Oracle Linux"),
            ('PRETTY_NAME="Debian GNU/Linux trixie/sid"\nID=debian\n', "debian", "Debian GNU/Linux trixie/sid"),
            ("ID=pop\nPRETTY_NAME=(\n", "", ""),
            (None, "", ""),
        ],
    )
    def test_a_system_by_its_own_file(self, text: str | None, system: str, title: str, tmp_path: Path) -> None:
        file = tmp_path / "os-release"
        if text is not None:
            file.write_text(text)
        script = Host().command().replace("/etc/os-release", str(file)).replace("/usr/lib/os-release", str(file))
        here = Host().process(shell(script))
        assert (here.system, here.system_title) == (system, title)

    def test_scripts_run_on_this_machine(self) -> None:
        here = Host().process(shell(Host().command()))
        assert here.uid >= 0
        assert here.cores > 0
        assert here.memory_mib > 0
        assert {disk.path for disk in here.disks} >= {"/var/lib/docker", "/var/lib/kubelet"}
        assert all(disk.size_mib >= disk.free_mib for disk in here.disks)
        assert here.identity.hostname
        assert here.init
        assert here.network.device_with(IPv4Address("127.0.0.1"))
        assert "net.ipv4.ip_forward" in Before().process(shell(Before().command())).sysctls


def test_before() -> None:
    output = answered(
        owned_paths="/root/.kube",
        sysctls="net.ipv4.ip_forward = 0",
        swaps="Filename Type\n/swapfile file",
        nft_tables="table ip filter\ntable inet mine",
        iptables="*filter\n:FORWARD DROP [0:0]\nCOMMIT",
        modules="br_netfilter\nveth",
        groups="docker",
        firewalld="running\n22/tcp 6443/tcp\n10.0.0.0/8",
        selinux="Enforcing",
    )
    record = Record.of(Before().process(output.splitlines()))
    assert record.paths == ["/root/.kube"]
    assert record.sysctls == {"net.ipv4.ip_forward": "0"}
    assert record.swaps == ["/swapfile"]
    assert record.nft_tables == ["ip filter", "inet mine"]
    assert record.policies == {"filter FORWARD": "DROP"}
    assert record.modules == ["br_netfilter"]
    assert record.groups == ["docker"]
    assert record.packages == []
    assert (record.selinux, record.firewalld) == ("Enforcing", ["running", "22/tcp", "6443/tcp", "10.0.0.0/8"])


class TestControlPlane:
    @pytest.mark.parametrize(
        ("answers", "state"),
        [
            ({}, ControlPlane()),
            ({"interrupted": "x"}, ControlPlane(interrupted=True)),
            ({"configured": "x", "healthy": "ok", "finished": "a\nb"}, ControlPlane(True, False, True, True)),
            ({"configured": "x", "healthy": "ok", "finished": "a"}, ControlPlane(True, False, True, False)),
        ],
    )
    def test_state(self, answers: dict[str, str], state: ControlPlane) -> None:
        assert ControlPlaneState().process(answered(**answers).splitlines()) == state

    def test_blank_host(self) -> None:
        assert ControlPlaneState().default() == ControlPlane()
        assert MembershipState().process(answered().splitlines()) == MembershipState().default()


class TestFiles:
    def test_existing_and_not_empty(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        folder = tmp_path_factory.mktemp("it's here")
        (folder / "full").mkdir()
        (folder / "full" / ".hidden").touch()
        (folder / "empty").mkdir()
        (folder / "dangling").symlink_to("nowhere")
        paths = [str(folder / name) for name in ("full", "empty", "dangling", "absent")]
        assert Existing().process(shell(Existing().command(paths))) == paths[:3]
        assert NotEmpty().process(shell(NotEmpty().command(paths))) == paths[:1]

    def test_text(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        file = tmp_path_factory.mktemp("a b") / "c"
        assert shell(Text().command(str(file))) == []
        file.write_text("x\n\ny\n")
        assert Text().process(shell(Text().command(str(file)))) == "x\n\ny\n"


def test_rules_of_both_families() -> None:
    printed = {"iptables": "*filter\n:INPUT ACCEPT [0:0]", "ip6tables": "*nat"}
    assert IptablesRules().process(answered(**printed).splitlines()) == printed


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "clusters:\n- cluster:\n    server: https://a:6443\ncontexts:\n- context:\n    user: x\n",
            (("https://a:6443",), 1),
        ),
        ('- cluster: {}\n    server: "https://a:6443"\n- cluster:\n    server: b\n', (("https://a:6443", "b"), 0)),
        ("apiVersion: v1\nclusters: null\n", ((), 0)),
        ("", ((), 0)),
    ],
)
def test_whose_a_kubeconfig_is(text: str, found: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("it's") / "config"
    file.write_text(f"{text}client-key-data: secret\n")
    output = shell(KubeconfigOf().command(str(file)))
    assert "secret" not in "".join(output)
    read = KubeconfigOf().process(output)
    assert read is not None
    assert (read.servers, read.contexts) == found


def test_no_kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> None:
    assert KubeconfigOf().process(shell(KubeconfigOf().command(str(tmp_path_factory.mktemp("a") / "absent")))) is None


def test_patterns_of_links_and_routes_run_on_this_machine() -> None:
    assert "lo" in ClusterLinks().process(shell(ClusterLinks().command(["l[o]", "no-such.*"])))
    assert RoutesInto().process(shell(RoutesInto().command(["198.51.100.0/24"]))) == []
