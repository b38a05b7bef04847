"""Deploys to some of the hosts (--limit): what they need of the others, and what these are spared."""

import json
from pathlib import Path

import pytest

from tests.unit.deploy.phases.fake_cluster import ADDRESSES, MARK, FakeCluster, Run, host_facts, ready_objects, sections
from tests.unit.deploy.phases.test_deploy import CHANGES, TRACEBACK
from tests.unit.deploy.phases.test_networks import applied, deployed
from tests.unit.networks import made_up

NODE = "Kubernetes v1.20.2"
CLUSTER = ("master initialised", "@api")
HANDLED = r"kubeadm token (create|delete)"
"""What the control plane host does for a host that joins, whoever is left out."""


@pytest.fixture
def hosts(tmp_path: Path) -> FakeCluster:
    return FakeCluster(tmp_path)


@pytest.fixture
def cluster(hosts: FakeCluster) -> FakeCluster:
    """The control plane and node1 are a cluster; node2 is no node yet."""
    hosts.rules[:0] = [host_facts(name, kubelet_version=NODE) for name in ("master", "node1")]
    hosts.flags = CLUSTER
    return hosts


def limited(hosts: FakeCluster, *names: str, flag: str = "-y") -> Run:
    return hosts.run("deploy.py", flag, *(word for name in names for word in ("--limit", name)))


def changed(run: Run) -> dict[str, list[str]]:
    """Commands that change something, and files that were put, by host; but tokens."""
    made: dict[str, list[str]] = {}
    for place in {*run.places(CHANGES), *run.places("kubectl .* (apply|delete|rollout)")} - set(run.places(HANDLED)):
        made.setdefault(run.commands[place].host, []).append(run.commands[place].command)
    for item in run.commands:
        if item.file:
            made.setdefault(item.host, []).append(item.file)
    return made


class TestJoin:
    def test_with_the_control_plane_left_out(self, cluster: FakeCluster) -> None:
        run = limited(cluster, "node2")
        assert run.code == 0, run.output
        assert run.ran("kubeadm join", "node2")
        assert len(run.places(HANDLED, "master")) == 2
        assert changed(run).keys() == {"node2"}
        assert "[warning]" not in run.output

    def test_hosts_that_are_left_out_are_asked_no_more_than_others_need(self, cluster: FakeCluster) -> None:
        run = limited(cluster, "node2", flag="--dry")
        assert run.code == 0, run.output
        for question, asked in (
            (f"{MARK}identity", ADDRESSES),
            ("peer.pl does", ADDRESSES),
            (f"{MARK}veth", ["node2"]),
        ):
            assert {run.commands[place].host for place in run.places(question)} == set(asked)
        cluster.rules[:0] = [host_facts("node1")]
        run = limited(cluster, "node2", flag="--dry")
        assert {run.commands[place].host for place in run.places("peer.pl does")} == {"master", "node2"}
        assert {run.commands[place].host for place in run.places(f"{MARK}veth|apt-config shell")} == {"node2"}

    def test_to_another_cluster_is_seen_by_the_control_plane_left_out(self, cluster: FakeCluster) -> None:
        cluster.rules[:0] = [host_facts("master", foreign="/etc/kubernetes/kubelet.conf")]
        run = limited(cluster, "node2")
        assert run.code == 1
        assert "[error] foreign-cluster master: holds a cluster that Kubeproof did not make" in run.output
        assert changed(run) == {}

    def test_packets_that_do_not_arrive_at_a_host_left_out_stop_it(self, cluster: FakeCluster) -> None:
        cluster.answer("peer.pl does", host="node1", stdout="heard master\ndone")
        run = limited(cluster, "node2")
        assert run.code == 1
        assert "[error] udp-path node1: gets no packets at UDP 8472 from node2" in run.output
        assert changed(run) == {}

    def test_without_a_control_plane(self, hosts: FakeCluster) -> None:
        run = limited(hosts, "node1", "node2")
        assert run.code == 1
        said = "[error] control-plane-left-out master: is left out by --limit and has no control plane yet, and node1, "
        assert f"{said}node2 have to join, so there is no cluster to join; add --limit master\n" in run.output
        assert changed(run) == {}

    def test_with_an_interrupted_init(self, cluster: FakeCluster) -> None:
        cluster.answer(f"{MARK}unfinished", host="master", stdout=sections(unfinished="/x/init-in-progress"))
        run = limited(cluster, "node2")
        assert run.code == 1
        assert (
            "[error] control-plane-left-out master: is left out by --limit and has no control plane yet" in run.output
        )

    @pytest.mark.parametrize("flag", ["--dry", "-y"])
    def test_with_the_control_plane_down(self, cluster: FakeCluster, flag: str) -> None:
        cluster.down = ("master",)
        run = limited(cluster, "node2", flag=flag)
        assert run.code == 1
        said = (
            "[error] control-plane-left-out master: is left out by --limit and does not answer, and node2 has to join"
        )
        assert said in run.output
        assert changed(run) == {}
        assert TRACEBACK not in run.output

    def test_that_was_interrupted_needs_the_control_plane(self, cluster: FakeCluster) -> None:
        cluster.down = ("master",)
        cluster.answer(f"{MARK}unfinished", host="node1", stdout=sections(unfinished="/x/join-in-progress"))
        assert "and node1 has to join" in limited(cluster, "node1").output

    def test_a_node_needs_no_control_plane_that_answers(self, cluster: FakeCluster) -> None:
        cluster.down = ("master",)
        cluster.answer(f"{MARK}joined", host="node1", stdout=sections(joined="x"))
        run = limited(cluster, "node1", flag="--dry")
        assert run.code == 0, run.output
        assert "[warning] left-out master: is left out by --limit and does not answer, " in run.output


class TestLeftOut:
    def test_a_worker_that_is_down_is_no_failure(self, cluster: FakeCluster) -> None:
        cluster.down = ("node1",)
        cluster.answer("get nodes,", stdout=objects("master", "node2"))
        run = limited(cluster, "master", "node2")
        assert run.code == 0, run.output
        assert "[warning] left-out node1: is left out by --limit and does not answer, " in run.output
        assert run.ran("kubeadm join", "node2")
        assert "node1" not in changed(run)

    def test_a_worker_that_cannot_be_asked_is_no_failure(self, cluster: FakeCluster) -> None:
        cluster.answer(f"{MARK}identity", host="node1", success=False, stderr="sudo: a password is required")
        run = limited(cluster, "node2")
        assert run.code == 0, run.output
        assert "[warning] left-out node1: " in run.output

    def test_a_host_of_the_limit_that_is_down_is_one(self, cluster: FakeCluster) -> None:
        cluster.down = ("node2",)
        run = limited(cluster, "master", "node2")
        assert run.code == 1
        assert "left-out" not in run.output

    def test_what_is_wrong_with_a_worker_does_not_matter(self, cluster: FakeCluster) -> None:
        cluster.rules[:0] = [host_facts("node1", system="ubuntu 20.04", kubelet_version="Kubernetes v1.31.0")]
        assert limited(cluster, "node2", flag="--dry").code == 0
        assert "[error] os node1: runs ubuntu 20.04" in limited(cluster, flag="--dry").output

    def test_what_several_hosts_share_does(self, cluster: FakeCluster) -> None:
        identity = "hostname=node2\nmachine_id=id-of-node1\nproduct_uuid=uuid-of-node2\ncontainer="
        cluster.rules[:0] = [host_facts("node2", identity=identity)]
        assert "duplicate-machine-id node1, node2: have the same machine-id" in limited(cluster, "node2").output

    def test_settings_that_the_cluster_was_not_made_with_are_seen_there(self, cluster: FakeCluster) -> None:
        cluster.answer(f"{MARK}unfinished", host="master", stdout=sections(arguments="cluster-cidr=10.9.0.0/16"))
        run = limited(cluster, "node2")
        assert run.code == 1
        assert "[error] changed-setting master: pod_cidr is 10.9.0.0/16 in the running cluster" in run.output
        assert changed(run) == {}

    def test_a_control_plane_alone_waits_for_no_worker_and_gets_no_demo(self, hosts: FakeCluster) -> None:
        hosts.answer("get nodes,", when=["@api"], stdout=objects("master"))
        run = limited(hosts, "master")
        assert run.code == 0, run.output
        assert run.ran("kubeadm init", "master")
        assert changed(run).keys() == {"master"}
        placed = [item.file or item.command for item in run.commands]
        assert not any("httpd.yaml" in text or "kuard.yaml" in text for text in placed)
        assert "Demo |" not in run.output

    def test_the_demo_is_kept_on_workers_that_are_left_out(self, cluster: FakeCluster) -> None:
        assert "Demo |" in limited(cluster, "master", flag="--dry").output


class TestMtu:
    MTUS = (("master", 1500), ("node1", 1460), ("node2", 9000))

    def deployed(self, hosts: FakeCluster, **data: object) -> Run:
        hosts.rules[:0] = [host_facts(name, mtu=mtu) for name, mtu in self.MTUS]
        return deployed(hosts, made_up.CANAL, "canal", "-y", "--limit", "master", "--limit", "node2", **data)

    def test_is_the_smallest_of_all_hosts(self, hosts: FakeCluster) -> None:
        run = self.deployed(hosts)
        assert applied(run, "canal")["ConfigMap"]["data"]["veth_mtu"] == "1410"

    def test_of_a_host_that_is_down_is_not_guessed(self, hosts: FakeCluster) -> None:
        hosts.down = ("node1",)
        run = self.deployed(hosts)
        assert run.code == 1
        assert (
            "[error] left-out node1: is left out by --limit and does not answer, so nobody knows which MTU"
            in run.output
        )
        assert changed(run) == {}

    def test_that_is_set_has_to_be_known_of_no_host(self, hosts: FakeCluster) -> None:
        hosts.down = ("node1",)
        run = self.deployed(hosts, cni_mtu=1300)
        assert applied(run, "canal")["ConfigMap"]["data"]["veth_mtu"] == "1300"


def objects(*names: str) -> str:
    return json.dumps({"items": ready_objects(names=names)})
