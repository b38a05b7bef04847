"""How a node's virtual machine is started, and what is told where it is not."""

import json
import os
import shutil
import socket
import subprocess
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from kubeproof.terminal.errors import CommandError
from lab import archive, container, node_files, nodes, process, shell, vm, vm_image
from lab.inventory import host_data
from lab.paths import REPOSITORY
from lab.settings import FILE, parse, read_file
from lab.systems import DEFAULT

LAB = parse(read_file(FILE), {"KUBEPROOF_LAB_VM_WORKERS": "1"})
CONTAINER, NODE = LAB.nodes[1:]
IMAGE = Path("/shared/abc")


@pytest.fixture
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Folders of the lab's own for all that a node keeps."""
    for module in (vm, container):
        monkeypatch.setattr(module, "RUN", tmp_path)
    for module in (vm, node_files):
        monkeypatch.setattr(module, "NODES", tmp_path / "nodes")
    monkeypatch.setattr(container, "LOG_FILE", tmp_path / "log" / "lab.log")
    return tmp_path


def test_the_last_workers_are_virtual_machines() -> None:
    assert [node.vm for node in LAB.nodes] == [False, False, True]
    assert not any(node.vm for node in parse(read_file(FILE), {}).nodes)


def test_it_boots_its_own_disk_on_the_labs_bridge(folders: Path) -> None:
    words = vm.command("k8s-node2", IMAGE, "tcg")
    options = dict(pairwise(words))
    assert (options["-kernel"], options["-initrd"]) == ("/shared/abc/vmlinuz", "/shared/abc/initrd.img")
    assert (options["-accel"], options["-m"], options["-smp"]) == ("tcg,thread=multi", "2560", "2")
    (disk, seed) = [words[at + 1] for at, word in enumerate(words) if word == "-drive"]
    assert disk.endswith(f"file={folders}/nodes/k8s-node2/disk.qcow2")
    assert "readonly=on" in seed
    assert options["-netdev"].startswith("tap,id=lab,ifname=vm-")
    assert options["-netdev"].endswith("/lab/attach-tap,downscript=no")
    assert f"path={folders}/log/k8s-node2.log" in options["-chardev"]


def test_no_two_have_one_link_or_address() -> None:
    one, two = (dict(pairwise(vm.command(name, IMAGE, "tcg"))) for name in ("k8s-node1", "k8s-node2"))
    links = {words["-netdev"].split("ifname=")[1].split(",")[0] for words in (one, two)}
    assert len(links) == 2
    assert max(map(len, links)) <= 15
    words = vm.command("k8s-node1", IMAGE, "tcg")
    others = vm.command("k8s-node2", IMAGE, "tcg")
    assert [word for word in words if "mac=" in word] != [word for word in others if "mac=" in word]


def test_a_kernel_that_runs_with_kvm_has_it(folders: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(vm, "KVM", tmp_path)
    said = {"kvm": "Kernel panic - not syncing: VFS: Unable to mount root fs"}
    monkeypatch.setattr(shell, "run", lambda words, **_: said[words[words.index("-accel") + 1]])
    assert vm.kvm_works(IMAGE / vm_image.KERNEL)
    # Once is enough until the machine boots.
    said.clear()
    assert vm.kvm_works(IMAGE / vm_image.KERNEL)


@pytest.mark.parametrize("there", [True, False])
def test_one_that_hangs_or_has_no_kvm_is_emulated(
    there: bool, folders: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def hang(*_: object, **__: object) -> str:
        assert there
        raise CommandError("no end after 20s")

    monkeypatch.setattr(vm, "KVM", tmp_path if there else tmp_path / "none")
    monkeypatch.setattr(shell, "run", hang)
    assert not vm.kvm_works(IMAGE / vm_image.KERNEL)


def test_one_that_was_never_started(folders: Path) -> None:
    assert not vm.is_running("k8s-node2")
    vm.stop("k8s-node2")
    vm.kill("k8s-node2")
    assert vm.memory_mib("k8s-node2") is None


@pytest.fixture
def running(folders: Path) -> "subprocess.Popen[bytes]":
    """A process in the virtual machine's place."""
    child = subprocess.Popen(["sleep", "60"])
    process.remember(container.pid_file("k8s-node2"), child.pid)
    threading.Thread(target=child.wait, daemon=True).start()
    return child


def test_what_does_not_answer_its_power_button_is_killed(
    folders: Path, running: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
) -> None:
    assert vm.is_running("k8s-node2")
    assert vm.memory_mib("k8s-node2") is not None
    vm.stop("k8s-node2")
    assert not vm.is_running("k8s-node2")
    assert not container.pid_file("k8s-node2").exists()
    assert "no orderly shutdown" in capsys.readouterr().out


def test_the_power_button_is_pressed_in_the_monitors_own_words(
    folders: Path, running: "subprocess.Popen[bytes]", capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[str] = []

    def qemu(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rw") as lines:
            lines.write('{"QMP": {}}\n')
            lines.flush()
            for line in lines:
                heard.append(json.loads(line)["execute"])
                if heard[-1] == "system_powerdown":
                    running.terminate()
                lines.write('{"return": {}}\n')
                lines.flush()

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folders / "k8s-node2.monitor"))
        listening.listen()
        threading.Thread(target=qemu, args=(listening,), daemon=True).start()
        vm.stop("k8s-node2")
    assert heard == ["qmp_capabilities", "system_powerdown"]
    assert "no orderly shutdown" not in capsys.readouterr().out
    assert not (folders / "k8s-node2.monitor").exists()


def test_what_a_node_is_decides_what_runs_it(folders: Path) -> None:
    assert nodes._driver("k8s-node2") is container
    node_files.disk_of("k8s-node2").parent.mkdir(parents=True)
    node_files.disk_of("k8s-node2").touch()
    assert nodes._driver("k8s-node2") is vm


def test_one_that_ends_while_it_boots_names_its_console(folders: Path) -> None:
    with pytest.raises(CommandError, match=f"^k8s-node2: ended while it started; see {folders}/log/k8s-node2.log$"):
        nodes._wait_for_one(NODE)


def test_one_that_never_answers_names_its_console(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process.remember(container.pid_file("k8s-node2"), os.getpid())
    monkeypatch.setattr(vm, "BOOT_SECONDS", 0)
    monkeypatch.setattr(shell, "succeeds", lambda *_: False)
    with pytest.raises(CommandError, match=f"k8s-node2 to answer by SSH at .*; see {folders}/log/k8s-node2.log$"):
        nodes._wait_for_one(NODE)


def test_people_and_the_deploy_become_root_by_sudo() -> None:
    assert host_data(NODE) == {"address": "192.168.200.13", "_sudo": True}
    assert host_data(CONTAINER) == {"address": "192.168.200.12"}


def test_its_link_has_the_name_that_the_kernel_gives_it() -> None:
    assert "iface eth0 inet static" in node_files.identity(LAB, NODE)["etc/network/interfaces"]
    assert "iface host0 inet static" in node_files.identity(LAB, CONTAINER)["etc/network/interfaces"]


def test_a_container_is_not_taken_for_it_nor_it_for_a_container(folders: Path) -> None:
    containers = parse(read_file(FILE), {})
    for node in containers.nodes:
        (folders / "nodes" / node.name / "root").mkdir(parents=True)
        (folders / "nodes" / node.name / "made-for").write_text(node_files.fingerprint(containers, node))
    (line,) = node_files.problems(LAB)
    assert line.startswith("k8s-node2: was made with another system, other addresses")


def test_one_that_the_settings_no_longer_name_may_be_a_node(folders: Path) -> None:
    (folders / "nodes" / "k8s-node3" / "root").mkdir(parents=True)
    node_files.disk_of("k8s-node3").touch()
    (line,) = node_files.problems(LAB)
    assert line.startswith("k8s-node3: is a virtual machine and maybe still a node; run `./inv lab.down` first")


def test_another_clone_of_the_repository_makes_the_same_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "sources", lambda: (archive.Source("http://a.example", "bookworm"),))
    here = vm_image._root_key(DEFAULT)
    for folder in vm_image.COPIED:
        shutil.copytree(folder, tmp_path / folder.relative_to(REPOSITORY))
    monkeypatch.setattr(vm_image, "COPIED", tuple(tmp_path / each.relative_to(REPOSITORY) for each in vm_image.COPIED))
    monkeypatch.setattr(vm_image, "REPOSITORY", tmp_path)
    assert vm_image._root_key(DEFAULT) == here
    (tmp_path / "lab/vm_files/etc/fstab").write_text("other")
    assert vm_image._root_key(DEFAULT) != here
