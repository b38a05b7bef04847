"""A cluster in the user's own kubeconfig: added, renewed, taken out, and nobody else's entries touched."""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeproof.access import user_kubeconfig
from kubeproof.access.user_kubeconfig import MARK, files, forget, merge
from kubeproof.config.cluster import LoadedInventory
from kubeproof.terminal.errors import UserError
from tests.unit.node.example import cluster

SERVER = "https://192.0.2.11:6443"
ADMIN = """apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: Y2E=
    server: {server}
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {{}}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: Y2VydA==
    client-key-data: {key}
"""
"""As kubeadm writes it."""
OTHERS = """# mine
apiVersion: v1
kind: Config
preferences:
  colors: true
clusters:
- name: work
  cluster: {server: "https://work.example.net", insecure-skip-tls-verify: true, certificate-authority: ca.crt}
contexts:
- name: work
  context: {cluster: work, user: me, namespace: "0123"}
- name: short
  context: {cluster: work, user: robot}
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: login
      args: ["--on", "yes", "2024-01-02", "1e3"]
      interactiveMode: IfAvailable
- name: robot
  user: {token: not-to-be-seen}
current-context: work
"""
SECRETS = ("not-to-be-seen", "a2V5", "c2Vjb25k")


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LoadedInventory:
    """A cluster whose admin kubeconfig has been fetched; the user's own is named by KUBECONFIG."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    deployed(tmp_path)
    return LoadedInventory(tmp_path / "mine.py", cluster(kubeconfig=str(tmp_path / "copy")), {})


def deployed(folder: Path, key: str = "a2V5", server: str = SERVER) -> None:
    (folder / "copy").write_text(ADMIN.format(key=key, server=server))


def content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


def entry(path: Path, part: str, name: str = "mine") -> dict[str, Any]:
    (found,) = [item for item in content(path)[part] if item["name"] == name]
    held: dict[str, Any] = found[part.removesuffix("s")]
    return held


def refused(loaded: LoadedInventory, name: str = "mine") -> str:
    with pytest.raises(UserError) as error:
        merge(loaded, name, Path("/"))
    (line,) = error.value.problems
    assert not [secret for secret in SECRETS if secret in line]
    return line


def test_a_file_is_made_for_its_user_alone(loaded: LoadedInventory, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("KUBECONFIG", "")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path, changed = merge(loaded, "mine", Path("/"))
    assert (path, changed) == (tmp_path / "home/.kube/config", True)
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [item.name for item in path.parent.iterdir()] == ["config"]
    assert entry(path, "clusters") == {
        "certificate-authority-data": "Y2E=",
        "server": SERVER,
        "extensions": [MARK],
    }
    assert entry(path, "users")["client-key-data"] == "a2V5"
    assert entry(path, "contexts") == {"cluster": "mine", "user": "mine", "extensions": [MARK]}
    assert content(path)["current-context"] == "mine"
    assert merge(loaded, "mine", Path("/")) == (path, False)


def test_what_others_have_there_stays(loaded: LoadedInventory, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(OTHERS)
    path.chmod(0o644)
    assert merge(loaded, "mine", Path("/")) == (path, True)
    before, after = yaml.safe_load(OTHERS), content(path)
    # PyYAML's own reader takes this for a date unless it is quoted.
    assert before["users"][0]["user"]["exec"]["args"] == ["--on", "yes", "2024-01-02", "1e3"]
    for part in user_kubeconfig.PARTS:
        assert [item for item in after.pop(part) if item["name"] != "mine"] == before.pop(part)
    assert after == before
    assert path.stat().st_mode & 0o777 == 0o600
    backup = tmp_path / "config.before-kubeproof"
    assert backup.read_text() == OTHERS
    assert backup.stat().st_mode & 0o777 == 0o600
    # And out again, without another word.
    assert forget(loaded, Path("/")) == [path]
    assert content(path) == yaml.safe_load(OTHERS)
    assert forget(loaded, Path("/")) == []


def test_nothing_is_written_where_nothing_changes(loaded: LoadedInventory, tmp_path: Path) -> None:
    merge(loaded, "mine", Path("/"))
    path = tmp_path / "config"
    path.write_text(f"# a comment of mine\n{path.read_text()}")
    text, number = path.read_text(), path.stat().st_ino
    assert merge(loaded, "mine", Path("/")) == (path, False)
    assert (path.read_text(), path.stat().st_ino) == (text, number)
    path.chmod(0o640)
    assert merge(loaded, "mine", Path("/")) == (path, True)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_cluster_that_was_made_anew_is_renewed(loaded: LoadedInventory, tmp_path: Path) -> None:
    path = tmp_path / "config"
    merge(loaded, "mine", Path("/"))
    config = content(path)
    config["contexts"][0]["context"]["namespace"] = "chosen"
    path.write_text(yaml.safe_dump(config))
    deployed(tmp_path, key="c2Vjb25k", server="https://192.0.2.11:7443")
    other = replace(loaded, cluster=cluster(kubeconfig=str(tmp_path / "copy"), api_port=7443))
    assert merge(other, "mine", Path("/")) == (path, True)
    assert entry(path, "users")["client-key-data"] == "c2Vjb25k"
    assert entry(path, "clusters")["server"] == "https://192.0.2.11:7443"
    assert entry(path, "contexts")["namespace"] == "chosen"
    assert len(content(path)["clusters"]) == 1


def test_a_context_of_somebody_elses_stays_the_current_one(
    loaded: LoadedInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "second").write_text(OTHERS)
    monkeypatch.setenv("KUBECONFIG", f":config:{tmp_path / 'second'}")
    path, _ = merge(loaded, "mine", tmp_path)
    assert path == tmp_path / "config"
    assert "current-context" not in content(path)
    assert (tmp_path / "second").read_text() == OTHERS


def test_a_link_stays_one(loaded: LoadedInventory, tmp_path: Path) -> None:
    (tmp_path / "real").write_text(OTHERS)
    (tmp_path / "config").symlink_to("real")
    assert merge(loaded, "mine", Path("/"))[0] == tmp_path / "real"
    assert (tmp_path / "config").is_symlink()
    assert entry(tmp_path / "config", "clusters")["server"] == SERVER


# Refused --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["work", "me", "short"])
def test_a_name_that_something_else_has(name: str, loaded: LoadedInventory, tmp_path: Path) -> None:
    """A cluster, a user and a context."""
    path = tmp_path / "config"
    path.write_text(OTHERS)
    assert f"has something else named {name}" in refused(loaded, name)
    assert path.read_text() == OTHERS
    assert sorted(item.name for item in tmp_path.iterdir()) == ["config", "copy"]


def test_a_name_that_another_file_has(loaded: LoadedInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which kubectl would find no more, since the first file counts."""
    (tmp_path / "second").write_text(OTHERS)
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'config'}:{tmp_path / 'second'}")
    assert "has something else named work" in refused(loaded, "work")
    assert not (tmp_path / "config").exists()


def test_the_same_cluster_under_a_name_that_was_given_by_hand(loaded: LoadedInventory, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(ADMIN.format(key="b2xk", server=SERVER).replace("kubernetes-admin@kubernetes", "kubernetes"))
    assert "has something else named kubernetes" in refused(loaded, "kubernetes")
    path.write_text(path.read_text().replace("kubernetes-admin", "kubernetes"))
    assert merge(loaded, "kubernetes", Path("/")) == (path, True)
    assert entry(path, "users", "kubernetes")["client-key-data"] == "a2V5"


def test_without_a_deploy_or_with_the_copy_of_another_cluster(loaded: LoadedInventory, tmp_path: Path) -> None:
    said = f"is no kubeconfig of this cluster, run `./inv apply -i {tmp_path / 'mine.py'}` first"
    deployed(tmp_path, server="https://192.0.2.99:6443")
    assert said in refused(loaded)
    (tmp_path / "copy").unlink()
    assert said in refused(loaded)
    assert not (tmp_path / "config").exists()


def test_the_copy_itself(loaded: LoadedInventory, tmp_path: Path) -> None:
    (tmp_path / "config").symlink_to("copy")
    assert "is the cluster's own kubeconfig" in refused(loaded)


@pytest.mark.parametrize(
    "text",
    [
        "users: [{name: me, user: {token: not-to-be-seen",
        "- a\n",
        "clusters: {}\n",
        "users: [not-to-be-seen]\n",
        "a: 1\n---\nb: 2\n",
        "\xff",
    ],
)
def test_what_is_no_kubeconfig(text: str, loaded: LoadedInventory, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_bytes(text.encode("latin-1"))
    assert refused(loaded) == (
        f"{path}: is no kubeconfig, correct it (`kubectl config view --kubeconfig {path}` says more)"
    )
    assert path.read_bytes() == text.encode("latin-1")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["config", "copy"]


def test_a_file_that_is_being_written(loaded: LoadedInventory, tmp_path: Path) -> None:
    (tmp_path / "config.lock").touch()
    assert "config.lock: another program is writing the kubeconfig; if none is, remove this file" in refused(loaded)
    assert not (tmp_path / "config").exists()
    assert (tmp_path / "config.lock").exists()


def test_a_file_that_cannot_be_written(
    loaded: LoadedInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").mkdir()
    assert refused(loaded) == f"{tmp_path / 'config'}: Is a directory, correct it or set KUBECONFIG"
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "copy" / "config"))
    assert "copy: File exists, correct it or set KUBECONFIG" in refused(loaded)


def test_a_file_of_another_user(loaded: LoadedInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text(OTHERS)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert "belongs to another user" in refused(loaded)
    assert (tmp_path / "config").read_text() == OTHERS


def test_what_would_change_by_being_written(
    loaded: LoadedInventory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text(OTHERS)
    monkeypatch.setattr("kubeproof.networks.documents.dump", lambda _: OTHERS)
    assert "has something that would not be the same when it is written anew" in refused(loaded)
    assert (tmp_path / "config").read_text() == OTHERS
    assert not (tmp_path / "config.lock").exists()


# Taken out ------------------------------------------------------------------------------------------------------------


def test_a_file_without_the_cluster_is_not_touched(loaded: LoadedInventory, tmp_path: Path) -> None:
    assert forget(loaded, Path("/")) == []
    path = tmp_path / "config"
    text = f"users:\nclusters:\n- name: by-hand\n  cluster: {{server: '{SERVER}'}}\n"
    path.write_text(text)
    path.chmod(0o644)
    assert forget(loaded, Path("/")) == []
    assert (path.read_text(), path.stat().st_mode & 0o777) == (text, 0o644)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["config", "copy"]


def test_only_what_was_written_here_goes(loaded: LoadedInventory, tmp_path: Path) -> None:
    path = tmp_path / "config"
    merge(loaded, "mine", Path("/"))
    merge(loaded, "twice", Path("/"))
    config = content(path)
    by_hand = {"name": "by-hand", "cluster": {"server": SERVER}}
    config["clusters"].append(by_hand)
    config["contexts"].append({"name": "dev", "context": {"cluster": "mine", "user": "mine", "namespace": "dev"}})
    own_user = {"name": "twice", "user": {"token": "t"}}
    config["users"] = [own_user if item["name"] == "twice" else item for item in config["users"]]
    path.write_text(yaml.safe_dump(config))
    elsewhere = replace(loaded, cluster=cluster(api_port=7443))
    assert forget(elsewhere, Path("/")) == []
    assert forget(loaded, Path("/")) == [path]
    left = content(path)
    assert left["clusters"] == [by_hand]
    assert [item["name"] for item in left["contexts"]] == ["dev"]
    assert (left["users"], left["current-context"]) == ([own_user], "")


def test_names_of_files_are_as_kubectl_reads_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "::a:/b/c:")
    assert files(tmp_path) == [tmp_path / "a", Path("/b/c")]


@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed here")
def test_kubectl_reads_it_and_keeps_what_tells_whose_it_is(loaded: LoadedInventory, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(OTHERS)
    merge(loaded, "mine", Path("/"))

    def kubectl(*words: str) -> str:
        done = subprocess.run(["kubectl", "config", *words], capture_output=True, text=True, check=True)
        return done.stdout

    assert kubectl("get-contexts", "-o", "name").split() == ["mine", "short", "work"]
    assert kubectl("current-context") == "work\n"
    kubectl("set-context", "mine", "--namespace", "chosen")
    assert merge(loaded, "mine", Path("/")) == (path, False)
    assert forget(loaded, Path("/")) == [path]
    assert kubectl("get-contexts", "-o", "name").split() == ["short", "work"]
    path.write_text("users: [not-to-be-seen]\n")
    command = re.search("`(.*)`", refused(loaded))
    assert command
    said = subprocess.run(["sh", "-c", command[1]], capture_output=True, text=True, check=False)
    assert said.returncode
    assert "cannot unmarshal" in said.stderr
