"""The whole deploy and the whole reset, against hosts that exist only in their answers."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.deploy.phases.fake_cluster import (
    ADDRESSES,
    CA_HASH,
    FEATURES,
    KUBECONFIG,
    MARK,
    TOKEN,
    WORKERS,
    FakeCluster,
    Run,
    host_facts,
    ready_objects,
    sections,
)

CHANGES = (
    r"umask|apt-get(?! update --print-uris)|systemctl (start|stop|restart|enable)|"
    r"kubeadm (init|join|reset|token)|rm -(?!rf .\$d.')|touch|sysctl --write"
)
"""Commands that change something on a host."""
TRACEBACK = "Traceback"
OTHERS_KUBECONFIGS = (
    "server: https://198.51.100.1:6443\n",
    f"{KUBECONFIG}\nserver: https://198.51.100.1:6443\n",
    f"- context:\n- context:\n{KUBECONFIG}\n",
    "apiVersion: v1\n",
)


@pytest.fixture
def hosts(tmp_path: Path) -> FakeCluster:
    return FakeCluster(tmp_path)


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> tuple[FakeCluster, Run]:
    """One deploy to blank hosts, for all tests that only look at what it did."""
    hosts = FakeCluster(tmp_path_factory.mktemp("deployed"))
    return hosts, hosts.run("deploy.py", "-y")


class TestBlankHosts:
    def test_plan_changes_nothing(self, hosts: FakeCluster) -> None:
        run = hosts.run("deploy.py", "--dry")
        assert run.code == 0, run.output
        assert "Join the cluster" in run.output
        assert "[warning]" not in run.output
        assert not run.ran(CHANGES)
        assert not any(item.file for item in run.commands)

    def test_deploy(self, deployed: tuple[FakeCluster, Run]) -> None:
        hosts, run = deployed
        assert run.code == 0, run.output
        init_ends = run.places("delete secrets", "master")[0]
        assert run.places("kubeadm init", "master")[0] < init_ends
        joins = run.places("kubeadm join")
        assert {run.commands[place].host for place in joins} == set(WORKERS)
        assert init_ends < min(joins)
        assert max(joins) < run.places("get nodes,", "master")[0]
        self._token_is_kept_secret(run.commands, run.output)
        self._kubeconfig_is_private(hosts, run.output)

    def test_docker_keeps_what_the_host_has_configured(self, hosts: FakeCluster) -> None:
        hosts.answer("cat /etc/docker/daemon.json 2", host="node1", stdout='{"data-root": "/srv/docker"}')
        run = hosts.run("deploy.py", "-y")
        texts = {item.host: item.stdin for item in run.commands if item.stdin and "native.cgroupdriver" in item.stdin}
        placed = {name: json.loads(text) for name, text in texts.items()}
        assert placed["node1"] == {**placed["node2"], "data-root": "/srv/docker"}

    def test_each_worker_has_a_token_for_itself_that_is_revoked(self, deployed: tuple[FakeCluster, Run]) -> None:
        _, run = deployed
        created, deleted = (
            run.places("token create --ttl 10m0s", "master"),
            run.places("token delete abcdef$", "master"),
        )
        assert len(created) == len(deleted) == len(WORKERS)
        for worker in WORKERS:
            join = run.places("kubeadm join", worker)[0]
            removed = run.places("rm -f /run/kubeproof-join.yaml", worker)[0]
            assert created[0] < join < removed

    def test_no_pod_of_a_node_that_comes_back_gets_its_earlier_subnet(self, deployed: tuple[FakeCluster, Run]) -> None:
        """Its pods are still in the API, and start before the network's agent has written a new configuration."""
        _, run = deployed
        for worker in WORKERS:
            forgotten = run.places(
                "(?s)forget_network.sh .*/10-podnet.conflist .*/run/flannel/subnet.env -- cni0", worker
            )
            assert forgotten
            assert forgotten[0] < run.places("kubeadm join", worker)[0]

    @staticmethod
    def _token_is_kept_secret(commands: Sequence[object], output: str) -> None:
        secret = TOKEN.partition(".")[2]
        assert secret not in output
        assert not any(secret in getattr(item, "command", "") for item in commands)
        handed_over = [item for item in commands if secret in (getattr(item, "stdin", "") or "")]
        assert len(handed_over) == len(WORKERS)
        for item in handed_over:
            assert "umask 077" in getattr(item, "command", "")
            assert CA_HASH in getattr(item, "stdin", "")

    @staticmethod
    def _kubeconfig_is_private(hosts: FakeCluster, output: str) -> None:
        assert hosts.kubeconfig.read_text() == f"{KUBECONFIG}\n"
        assert hosts.kubeconfig.stat().st_mode & 0o777 == 0o600
        assert hosts.kubeconfig.parent.stat().st_mode & 0o777 == 0o700
        assert "not-to-be-seen" not in output

    def test_the_demo_waits_until_new_nodes_get_pods(self, hosts: FakeCluster) -> None:
        """Or all of it would be on the others: the taint of a node that joins stays a moment longer than Ready."""
        tainted = ready_objects()
        tainted[1]["spec"] = {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}
        hosts.answer("get nodes,", stdout=json.dumps({"items": tainted}), sets=["@looked"], when=["@api"])
        hosts.answer("get nodes,", stdout=json.dumps({"items": ready_objects()}), when=["@looked"])
        run = hosts.run("deploy.py", "-y")
        assert run.code == 0, run.output
        first, second = run.places("get nodes,", "master")[:2]
        assert first < second < run.places("kubectl .* apply .*httpd", "master")[0]


class TestBadLuck:
    def test_init_fails(self, hosts: FakeCluster) -> None:
        hosts.answer(
            "kubeadm init", success=False, stderr="[ERROR NumCPU]: the number of available CPUs 1 is less than 2"
        )
        run = hosts.run("deploy.py", "-y")
        assert run.code == 1
        assert "ERROR NumCPU" in run.output
        # Nobody is left for these, and workers have other things to do.
        assert "Kubelet | Start kubelet" in run.output or "API server | Reach" in run.output
        assert "operation: Demo |" not in run.output
        assert "operation: Pod network | Apply" not in run.output
        assert "needs the control plane host master, which failed" in run.output
        assert not run.ran("token create|kubeadm join")
        assert TRACEBACK not in run.output

    @pytest.mark.parametrize(("command", "host"), [("kubeadm init", "master"), ("kubeadm join", "node1")])
    def test_kubeadm_waited_in_vain_and_the_host_knows_why(self, command: str, host: str, hosts: FakeCluster) -> None:
        advice = "Unfortunately, an error has occurred:\n\ttimed out waiting for the condition\nerror execution phase x"
        hosts.answer(command, host=host, success=False, stderr=advice)
        hosts.answer("journalctl", host=host, stdout="docker.service: apparmor_parser: executable file not found")
        run = hosts.run("deploy.py", "-y")
        assert run.code == 1
        assert "docker.service: apparmor_parser: executable file not found" in run.output
        assert "error execution phase x" in run.output
        assert "Unfortunately" not in run.output

    def test_worker_is_down(self, hosts: FakeCluster) -> None:
        hosts.down = ("node1",)
        run = hosts.run("deploy.py", "-y")
        assert run.code == 1, run.output
        assert run.ran("kubeadm join", "node2")
        assert run.ran("get nodes,", "master")
        assert TRACEBACK not in run.output

    def test_control_plane_is_down(self, hosts: FakeCluster) -> None:
        hosts.down = ("master",)
        run = hosts.run("deploy.py", "-y")
        assert run.code == 1
        assert run.ran("apt-get.* install", "node1")
        assert not run.ran("kubeadm join")
        assert "needs the control plane host master, which failed" in run.output
        assert TRACEBACK not in run.output

    def test_join_fails_on_one_worker(self, hosts: FakeCluster) -> None:
        hosts.answer("kubeadm join", host="node1", success=False, stderr="error execution phase kubelet-start")
        run = hosts.run("deploy.py", "-y")
        assert run.code == 1
        assert "error execution phase kubelet-start" in run.output
        assert len(run.places("token delete abcdef$", "master")) == len(WORKERS)
        assert run.ran("rm -f /run/kubeproof-join.yaml", "node1")
        assert not run.ran("rm -f /var/lib/kubeproof-node/join-in-progress", "node1")
        assert run.ran("rm -f /var/lib/kubeproof-node/join-in-progress", "node2")
        assert TRACEBACK not in run.output

    def test_interrupted_init_is_taken_back_and_begun_again(self, hosts: FakeCluster) -> None:
        hosts.rules.append({"match": "run configured", "stdout": sections(configured="x", interrupted="x")})
        run = hosts.run("deploy.py", "-y")
        assert run.code == 0, run.output
        assert run.places("kubeadm reset", "master")[0] < run.places("kubeadm init", "master")[0]

    def test_control_plane_that_does_not_answer_is_never_taken_back(self, hosts: FakeCluster) -> None:
        question = "run configured"
        hosts.answer(question, stdout=sections(configured="x"), sets=["asked", "@api"])
        healthy = sections(configured="x", healthy="ok", finished="a\nb")
        hosts.answer(question, when=["asked"], stdout=healthy)
        run = hosts.run("deploy.py", "-y")
        assert run.code == 0, run.output
        assert not run.ran("kubeadm (reset|init)", "master")

    def test_interrupted_join_is_taken_back_and_begun_again(self, hosts: FakeCluster) -> None:
        hosts.answer("run joined", host="node1", stdout=sections(joined="x", interrupted="x"))
        run = hosts.run("deploy.py", "-y")
        forgotten = run.places("kubectl .* delete node node1 --ignore-not-found", "master")
        assert run.places("kubeadm reset", "node1")[0] < forgotten[0] < run.places("kubeadm join", "node1")[0]
        assert not run.ran("delete node node2")

    def test_node_of_another_cluster_is_refused(self, hosts: FakeCluster) -> None:
        hosts.answer("run joined", host="node1", stdout=sections(joined="x", ca="aaaa"))
        hosts.answer("run joined", host="master", stdout=sections(joined="x", ca="bbbb"))
        run = hosts.run("deploy.py", "-y")
        assert run.code == 1
        assert "belongs to another cluster" in run.output
        assert not run.ran("kubeadm (join|reset)", "node1")

    def test_worker_of_a_cluster_whose_control_plane_was_made_anew_is_refused(self, hosts: FakeCluster) -> None:
        hosts.answer("run joined", host="node1", stdout=sections(joined="x", ca="aaaa"))
        hosts.answer("run joined", host="master", when=["initialised"], stdout=sections(joined="x", ca="bbbb"))
        run = hosts.run("deploy.py", "-y")
        assert run.code == 1
        assert "belongs to another cluster" in run.output
        assert run.ran("kubeadm join", "node2")

    def test_node_that_has_joined_is_left_alone(self, hosts: FakeCluster) -> None:
        for name in ("node1", "master"):
            hosts.answer("run joined", host=name, stdout=sections(joined="x", ca="aaaa"))
        assert hosts.run("deploy.py", "-y").code == 0
        run = hosts.run("deploy.py", "--dry")
        assert run.code == 0, run.output
        hosts.down = ("master",)
        run = hosts.run("deploy.py", "-y")
        assert "belongs to another cluster" not in run.output


class TestBadInput:
    def test_findings_of_all_hosts_are_reported_before_anything_changes(self, hosts: FakeCluster) -> None:
        hosts.rules[:0] = [host_facts("node1", system="ubuntu 20.04"), host_facts("node2", address="192.0.2.99")]
        run = hosts.run("deploy.py", "-y")
        assert run.code == 1
        assert "[error] os node1: runs ubuntu 20.04, " in run.output
        assert "[error] node-address node2: does not have the address 192.0.2.13 but 192.0.2.99" in run.output
        assert "preflight: 2 errors, nothing has been changed on any host" in run.output
        assert not run.ran(CHANGES)
        assert not any(item.file for item in run.commands)
        assert TRACEBACK not in run.output

    def test_what_hosts_try_is_judged(self, hosts: FakeCluster) -> None:
        """Whatever was asked for in another way than by a fact of the host itself."""
        hosts.answer(f"{MARK}veth", host="node1", stdout=sections(**{**dict.fromkeys(FEATURES, "ok"), "vxlan": "no"}))
        hosts.answer(r"^date \+%s", host="node2", stdout="1700000100.5")
        hosts.answer("apt-config shell", host="node1", stdout="images https://registry.example.net/v2/ curl: (6) no")
        hosts.answer("peer.pl does", host="node2", stdout="heard node1\ndone")
        run = hosts.run("deploy.py", "-y")
        assert run.code == 1
        for line in (
            "[error] kernel-feature node1: cannot make a VXLAN link (no)",
            "[error] clock-skew node2: has a clock 100 s ahead of the median of all hosts",
            "[error] image-source node1: does not get https://registry.example.net/v2/ (curl: (6) no)",
            "[error] udp-path node2: gets no packets at UDP 8472 from master",
        ):
            assert line in run.output
        assert not run.ran(CHANGES)
        assert not any(item.file for item in run.commands)

    def test_what_is_ignored_is_shown_and_stops_nothing(self, hosts: FakeCluster) -> None:
        hosts.rules.insert(0, host_facts("master", cores="1", memory_mib="1000000"))
        hosts.settings = {"ignore_findings": ["cores", "memory"]}
        run = hosts.run("deploy.py", "-y")
        assert run.code == 0, run.output
        assert "[ignored] cores master: has 1 core\n" in run.output
        assert run.ran("kubeadm init", "master")

    def test_a_node_is_not_asked_what_it_has_shown(self, hosts: FakeCluster) -> None:
        for name in ("master", "node1"):
            hosts.rules.insert(0, host_facts(name, kubelet_version="Kubernetes v1.20.2"))
        run = hosts.run("deploy.py", "--dry")
        assert run.code == 0, run.output
        for question in (f"{MARK}veth", "apt-config shell"):
            assert {run.commands[place].host for place in run.places(question)} == {"node2"}
        assert {run.commands[place].host for place in run.places("peer.pl does")} == set(ADDRESSES)
        hosts.rules.insert(0, host_facts("node2", kubelet_version="Kubernetes v1.20.2"))
        assert not hosts.run("deploy.py", "--dry").ran(f"{MARK}veth|apt-config shell|peer.pl does")

    def test_docker_configuration_that_is_no_json(self, hosts: FakeCluster) -> None:
        hosts.rules.insert(0, host_facts("node1", docker_config="data-root = /srv"))
        run = hosts.run("deploy.py", "-y")
        assert run.code == 1
        assert "node1: has a /etc/docker/daemon.json that Docker cannot read" in run.output
        assert not run.ran(CHANGES)
        assert TRACEBACK not in run.output

    def test_wrong_settings(self, hosts: FakeCluster) -> None:
        run = hosts.run("deploy.py", "-y", "--data", "pod_cidr=10.1.0.0/16", "--data", "kubernetes_version=9.9.9")
        assert run.code == 1
        assert "overlaps" in run.output
        assert "9.9.9" in run.output
        assert not run.ran(CHANGES)
        assert TRACEBACK not in run.output


class TestReset:
    def test_workers_leave_first(self, hosts: FakeCluster) -> None:
        self._remains(hosts)
        run = hosts.run("reset.py", "-y")
        assert run.code == 0, run.output
        assert max(run.places("kubeadm reset", host)[0] for host in WORKERS) < run.places("kubeadm reset", "master")[0]

    def test_unreachable_worker(self, hosts: FakeCluster) -> None:
        self._remains(hosts)
        hosts.down = ("node1",)
        run = hosts.run("reset.py", "-y")
        assert run.code == 1
        assert run.ran("kubeadm reset", "node2")
        assert run.ran("kubeadm reset", "master")
        assert TRACEBACK not in run.output

    @pytest.mark.parametrize("deploy", ["deploy.py", "reset.py"])
    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"container_runtime": "containerd"}, "speaks with Docker, and container_runtime is containerd"),
            (
                {"kubernetes_version": "1.31.0", "container_runtime": "containerd"},
                "is a node of Kubernetes 1.20.2, and kubernetes_version is of 1.31",
            ),
        ],
    )
    def test_cluster_is_neither_converted_nor_half_taken_away(
        self, hosts: FakeCluster, deploy: str, settings: dict[str, object], said: str
    ) -> None:
        hosts.rules.insert(0, host_facts("node1", kubelet_version="Kubernetes v1.20.2"))
        hosts.settings = settings
        run = hosts.run(deploy, "-y")
        assert run.code == 1
        assert said in run.output
        assert not run.ran(CHANGES)
        assert TRACEBACK not in run.output

    @pytest.mark.parametrize("deploy", ["deploy.py", "reset.py"])
    def test_somebody_elses_cluster_is_left_alone(self, hosts: FakeCluster, deploy: str) -> None:
        hosts.rules.insert(0, host_facts("node1", foreign="/etc/kubernetes/kubelet.conf"))
        # What a deploy may ignore is not taken away by a reset.
        hosts.settings = {"ignore_findings": ["foreign-cluster"]} if deploy == "reset.py" else {}
        run = hosts.run(deploy, "-y")
        assert run.code == 1
        assert "node1: holds a cluster that Kubeproof did not make (/etc/kubernetes/kubelet.conf)" in run.output
        assert not run.ran(CHANGES)
        assert TRACEBACK not in run.output

    def test_kubeadm_is_not_let_loose_on_volumes_that_stay_mounted(self, hosts: FakeCluster) -> None:
        self._remains(hosts)
        hosts.answer("(?s)umount .*/var/lib/kubelet$", host="node1", success=False, stderr="umount: target is busy")
        run = hosts.run("reset.py", "-y")
        assert run.code == 1
        assert "what is mounted stays mounted (umount: target is busy)" in run.output
        assert not run.ran("kubeadm reset", "node1")
        assert run.ran("kubeadm reset", "node2")

    def test_hosts_that_are_kept_go_on_dropping_forwarded_packets(
        self, hosts: FakeCluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("KUBEPROOF_KEEP_HOSTS", "1")
        hosts.flags = tuple(f"{name} remembered" for name in ADDRESSES)
        rules = "*filter\n:FORWARD DROP [0:0]\n:KUBE-FORWARD - [0:0]\n-A FORWARD -j KUBE-FORWARD\nCOMMIT"
        hosts.answer("run ip6tables", stdout=sections(iptables=rules))
        run = hosts.run("reset.py", "-y")
        assert run.code == 0, run.output
        plans = [item.stdin or "" for item in run.commands if "iptables-restore" in item.command]
        assert len(plans) == len(ADDRESSES)
        assert all("-X KUBE-FORWARD" in plan and ":FORWARD" not in plan for plan in plans)
        asked = "(?s)^(?!export LC_ALL).*"
        assert not run.ran(f"{asked}(docker.service.d|systemctl (stop|restart) docker|before.json.*rm|purge)")

    @pytest.mark.parametrize("remembered", [True, False])
    def test_a_pod_network_goes_only_where_a_deploy_has_been(self, hosts: FakeCluster, remembered: bool) -> None:
        hosts.answer("ls /sys/class/net/cni0/brif", stdout="cni0")
        hosts.flags = tuple(f"{name} remembered" for name in ADDRESSES) if remembered else ()
        run = hosts.run("reset.py", "-y")
        assert run.code == 0, run.output
        assert run.ran("ip link delete dev cni0") == remembered

    def test_what_others_keep_in_common_directories_stays(self, hosts: FakeCluster) -> None:
        hosts.flags = ("node1 remembered",)
        hosts.answer("^.*for path in /etc/kubernetes ", stdout="/etc/kubernetes\n/root/.kube/cache")
        hosts.answer("^.*for path in /etc/apt/keyrings ", stdout="/etc/apt/keyrings\n/root/.kube")
        run = hosts.run("reset.py", "-y")
        assert run.code == 0, run.output
        assert run.ran("rm -rf --one-file-system -- .*/etc/kubernetes( |$)", "node1")
        assert not run.ran("rm -rf.* (/root/.kube|/etc/apt/keyrings)( |$)")
        assert run.ran("rmdir .*/root/.kube", "node1")

    def test_nothing_to_do(self, hosts: FakeCluster) -> None:
        run = hosts.run("reset.py", "-y")
        assert run.code == 0, run.output
        assert not run.ran(CHANGES)

    @pytest.mark.parametrize("others", OTHERS_KUBECONFIGS)
    def test_kubeconfig_of_another_cluster_stays(self, hosts: FakeCluster, others: str) -> None:
        self._have(hosts, others)
        run = hosts.run("reset.py", "-y")
        assert run.code == 0, run.output
        assert hosts.kubeconfig.read_text() == others
        assert not run.ran("root/.kube/config$")
        assert run.output.count("is not for this cluster alone, it is left as it is") == 2 * (KUBECONFIG in others)

    def test_kubeconfig_of_this_cluster_goes(self, hosts: FakeCluster) -> None:
        self._have(hosts, f"{KUBECONFIG}\n")
        hosts.answer("sha256sum /root/.kube/config", stdout=f"{'a' * 64}  /root/.kube/config")
        run = hosts.run("reset.py", "-y")
        assert not hosts.kubeconfig.exists()
        assert run.ran("rm -f /root/.kube/config", "master")

    @pytest.mark.parametrize("others", OTHERS_KUBECONFIGS)
    def test_deploy_replaces_no_kubeconfig_of_others(self, hosts: FakeCluster, others: str) -> None:
        self._have(hosts, others)
        run = hosts.run("deploy.py", "-y")
        assert run.code == 0, run.output
        assert hosts.kubeconfig.read_text() == others
        assert not run.ran("install .*/root/.kube/config")
        assert run.output.count("is not for this cluster alone, it is left as it is") == 2

    def test_deploy_replaces_an_old_kubeconfig_of_this_cluster(self, hosts: FakeCluster) -> None:
        self._have(hosts, f"{KUBECONFIG}-any-more\n")
        run = hosts.run("deploy.py", "-y")
        assert hosts.kubeconfig.read_text() == f"{KUBECONFIG}\n"
        assert run.ran("install .*/root/.kube/config", "master")

    def test_kubeconfig_that_is_a_folder_is_left_alone(self, hosts: FakeCluster) -> None:
        hosts.kubeconfig.mkdir(parents=True)
        run = hosts.run("deploy.py", "-y")
        assert run.code == 0, run.output
        assert TRACEBACK not in run.output
        assert hosts.run("reset.py", "-y").code == 0

    @staticmethod
    def _have(hosts: FakeCluster, kubeconfig: str) -> None:
        hosts.kubeconfig.parent.mkdir()
        hosts.kubeconfig.write_text(kubeconfig)
        hosts.answer("(?s)echo there.*/root/.kube/config", stdout=f"there\n{kubeconfig}")

    @staticmethod
    def _remains(hosts: FakeCluster) -> None:
        # What preflight asks is the same, but for hosts without a record; these have one.
        hosts.answer("(?s)^(?!.*machine_id).*ls -d .*admin.conf", stdout="/etc/kubernetes/kubelet.conf")
