import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeproof.config.tables import paths
from kubeproof.node import leftovers
from kubeproof.node.joining import credentials
from kubeproof.node.record import COMMON_DIRECTORIES, DOCKER_PATHS, OWNED_PATHS, Record
from kubeproof.node.texts import BEGIN, END, with_block, without_block
from kubeproof.state.hostfiles import parse_sysctls
from kubeproof.state.iptables import parse_iptables_save

PRINTED = (
    "kubeadm join 192.0.2.11:6443 --token abcdef.0123456789abcdef     "
    "--discovery-token-ca-cert-hash sha256:" + "0a" * 32 + " "
)


class TestBlocks:
    @given(
        st.lists(st.sampled_from(["127.0.0.1 localhost", "# mine", "", "::1 ip6"])).map(lambda x: "\n".join([*x, ""]))
    )
    def test_removing_undoes_adding(self, text: str) -> None:
        added = with_block(text, "192.0.2.11 master\n")
        assert without_block(added) == text
        assert with_block(added, "192.0.2.11 master\n") == added

    def test_replaces_an_earlier_block_and_keeps_what_follows(self) -> None:
        text = f"a\n{BEGIN}\nold\n{END}\nb\n"
        assert with_block(text, "new\n") == f"a\nb\n{BEGIN}\nnew\n{END}\n"

    def test_file_without_a_last_line_break(self) -> None:
        assert with_block("a", "new\n") == f"a\n{BEGIN}\nnew\n{END}\n"


class TestCredentials:
    def test_reads_what_kubeadm_prints(self) -> None:
        made = credentials(PRINTED)
        assert made is not None
        assert (made.token, made.token_id, made.ca_hash) == ("abcdef.0123456789abcdef", "abcdef", "sha256:" + "0a" * 32)
        assert "0123456789abcdef" not in repr(made)

    @pytest.mark.parametrize("text", ["", "error: x", PRINTED.replace("sha256:", ""), PRINTED.replace("abcdef.", "")])
    def test_refuses_anything_else(self, text: str) -> None:
        assert credentials(text) is None


class TestRecord:
    def test_sysctls(self) -> None:
        assert parse_sysctls("net.ipv4.ip_forward = 0\na.b = 1\t2\nsysctl: cannot stat\n") == {
            "net.ipv4.ip_forward": "0",
            "a.b": "1 2",
        }

    def test_policies(self) -> None:
        lines = [
            "*filter",
            ":INPUT ACCEPT [1:2]",
            ":FORWARD DROP [0:0]",
            ":MINE - [0:0]",
            "*nat",
            ":OUTPUT ACCEPT [0:0]",
        ]
        found = parse_iptables_save("\n".join(lines)).policies
        assert found == {"filter INPUT": "ACCEPT", "filter FORWARD": "DROP", "nat OUTPUT": "ACCEPT"}

    def test_packages_are_added_to_those_of_an_earlier_attempt(self) -> None:
        assert Record(packages=["b"]).with_packages(["a", "b"]).packages == ["a", "b"]


class TestLeftovers:
    def test_what_was_there_stays(self) -> None:
        record = Record(paths=["/var/lib/docker", "/var/lib/kubelet", "/root/.kube", "/etc/apt/keyrings"])
        found = leftovers.of_deploy(record, runtime=True)
        assert not {"/var/lib/docker", "/var/lib/kubelet"} & set(found.removed)
        assert not {"/root/.kube", "/etc/apt/keyrings"} & set(found.tidied)
        assert leftovers.KUBECTL_CACHE not in found.removed
        assert {"/var/lib/containerd", "/etc/kubernetes", paths.APT_SOURCE, leftovers.DOCKER_KEY} <= set(found.removed)
        assert found.emptied == ("/var/lib/docker",)

    def test_docker_that_stays_keeps_its_files(self) -> None:
        found = leftovers.of_deploy(Record(), runtime=False)
        assert not {*DOCKER_PATHS, leftovers.DOCKER_KEY} & {*found.removed, *found.emptied}

    def test_what_others_may_use_goes_only_if_it_is_empty(self) -> None:
        found = leftovers.of_deploy(Record(), runtime=True)
        assert not set(COMMON_DIRECTORIES) & {*found.removed, *found.emptied}
        assert found.tidied == COMMON_DIRECTORIES
        places = {path: place for place, path in enumerate(COMMON_DIRECTORIES)}
        parents = {path: path.rpartition("/")[0] for path in places}
        assert all(places[path] < places[parent] for path, parent in parents.items() if parent in places)

    def test_without_a_record_only_what_is_surely_the_clusters(self) -> None:
        found = leftovers.of_cluster()
        assert "/root/.kube" not in found.removed
        assert "/etc/cni/net.d" not in (*found.removed, *found.emptied)

    def test_apt_lists_have_apts_names(self) -> None:
        lists = leftovers.apt_lists("http://192.0.2.1:3142/kubernetes_1/")
        assert lists[0] == "/var/lib/apt/lists/192.0.2.1:3142_kubernetes%5f1_InRelease"

    def test_only_owned_paths_are_ever_removed(self) -> None:
        owned = {*OWNED_PATHS, *leftovers.DEPLOY_FILES, leftovers.KUBECTL_CACHE, leftovers.DOCKER_KEY}
        found = leftovers.of_deploy(Record(), runtime=True)
        assert {*found.removed, *found.tidied} == owned
