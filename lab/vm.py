"""One node as a virtual machine on this machine: a qemu process, started, found again and stopped.

Its counterpart for containers is lab/container.py. Both keep process and console log in the same places.
"""

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

from kubeproof.terminal.console import say
from kubeproof.terminal.errors import CommandError
from lab import container, logs, node_files, process, shell, ssh, vm_image
from lab.paths import NODES, REPOSITORY, RUN, SHARED
from lab.settings import LabNode, LabSettings
from lab.wait import wait_until

PACKAGES = ("qemu-system-x86", "qemu-utils", "e2fsprogs")
"""Debian packages for them on the lab's machine, which has them only if the lab has virtual machines."""
CORES = 2
MEMORY_MIB = 2560
BOOT_SECONDS = 600
"""Emulated, on two cores with other work: two minutes were measured until it answers by SSH."""
STOP_SECONDS = 180
KILL_SECONDS = 15
CONNECT_SECONDS = 10
"""For one try to reach it by SSH, whose keys an emulated processor takes seconds for."""
KVM = Path("/dev/kvm")
KVM_SECONDS = 20
"""A kernel without a root filesystem gives up within a second, if it runs at all."""
EMULATION = (
    "no KVM that boots a kernel on this machine: virtual machines are emulated, and take about ten times as long for "
    "everything that they do"
)

is_running = container.is_running
console_log = container.console_log


def create(lab: LabSettings, node: LabNode, image: Path) -> None:
    """Make a node's disks: one that differs from the image by what is written, and one with what makes it this node.

    What an interrupted call left is made anew.
    """
    making = node_files.begin(node.name)
    node_files.identify(lab, node, making)
    home = making / "home" / ssh.VM_USER
    node_files.authorize(home)
    for path in (home, *home.rglob("*")):
        os.chown(path, vm_image.USER_ID, vm_image.USER_ID)
    shell.run(["mkfs.ext4", "-q", "-F", "-d", making, _seed(node.name), "8M"])
    _seed(node.name).chmod(0o600)
    backing = ("-F", "raw", "-b", str(image / vm_image.DISK))
    shell.run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, node_files.disk_of(node.name)])
    _image_file(node.name).write_text(image.name)
    node_files.finish(lab, node)


def launch(lab: LabSettings, name: str) -> None:
    """Start a node; it outlives the command that started it."""
    image = SHARED / _image_file(name).read_text()
    accelerator = "kvm" if kvm_works(image / vm_image.KERNEL) else "tcg"
    if accelerator == "tcg":
        say(EMULATION)
    with logs.appending(console_log(name)) as output, process.uninterrupted():
        started = subprocess.Popen(
            command(name, image, accelerator),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd="/",
            env={**os.environ, "KUBEPROOF_BRIDGE": lab.bridge},
        )
        process.remember(container.pid_file(name), started.pid)


def stop(name: str) -> None:
    """Press the power button, and kill the node if it does not end; raises CommandError if even that fails."""
    if not is_running(name):
        return
    try:
        _press_power_button(name)
        wait_until(lambda: not is_running(name), seconds=STOP_SECONDS, what=f"{name} to shut down")
    except (CommandError, OSError):
        say(f"[yellow]{name}: no orderly shutdown within {STOP_SECONDS}s; killed[/yellow]")
    kill(name)


def kill(name: str) -> None:
    """End a node at once, as a power cut does, and forget it; its link goes with it. CommandError if that fails."""
    pid = process.alive(container.pid_file(name))
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not is_running(name), seconds=KILL_SECONDS, what=f"{name} to end after SIGKILL")
    _monitor(name).unlink(missing_ok=True)
    container.pid_file(name).unlink(missing_ok=True)


def memory_mib(name: str) -> int | None:
    """Resident memory of the virtual machine's process, or None if it does not run."""
    pid = process.alive(container.pid_file(name))
    try:
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except FileNotFoundError:
        return None
    return int(found[1]) // 1024 if found else None


def command(name: str, image: Path, accelerator: str) -> list[str]:
    """qemu and its options for a node; ``accelerator`` is kvm or tcg. Pure."""
    number = hashlib.sha256(name.encode()).hexdigest()[:8]
    address = ":".join(("52", "54", *re.findall("..", number)))
    return [
        *_qemu(accelerator, MEMORY_MIB, image / vm_image.KERNEL),
        *("-name", name),
        *("-smp", str(CORES)),
        *("-initrd", str(image / vm_image.INITRD)),
        *("-append", "root=/dev/vda rw console=ttyS0 net.ifnames=0 init=/usr/local/sbin/kubeproof-vm-init"),
        # A flush of the guest's is one to this machine's kernel, which a virtual machine that is killed leaves alone.
        *("-drive", f"if=virtio,format=qcow2,cache=unsafe,file={node_files.disk_of(name)}"),
        *("-drive", f"if=virtio,format=raw,readonly=on,file={_seed(name)}"),
        *("-netdev", f"tap,id=lab,ifname=vm-{number},script={REPOSITORY / 'lab' / 'attach-tap'},downscript=no"),
        *("-device", f"virtio-net-pci,netdev=lab,mac={address}"),
        *("-device", "virtio-rng-pci"),
        *("-chardev", f"file,id=console,append=on,path={console_log(name)}"),
        *("-serial", "chardev:console"),
        *("-qmp", f"unix:{_monitor(name)},server=on,wait=off"),
    ]


def kvm_works(kernel: Path) -> bool:
    """Whether KVM boots this kernel here, tried once until this machine boots: that /dev/kvm is there says nothing."""
    known = RUN / "kvm"
    if not known.exists():
        known.parent.mkdir(parents=True, exist_ok=True)
        known.write_text("works" if KVM.exists() and _boots(kernel) else "does not work")
    return known.read_text() == "works"


def _boots(kernel: Path) -> bool:
    """A kernel without a root filesystem panics, and says so, after it has done everything else."""
    words = [*_qemu("kvm", 256, kernel), "-no-reboot", "-append", "console=ttyS0 panic=-1", "-serial", "stdio"]
    try:
        return "Kernel panic" in shell.run(words, check=False, timeout=KVM_SECONDS)
    except CommandError:
        return False


def _qemu(accelerator: str, memory_mib: int, kernel: Path) -> list[str]:
    """The command and its options for any virtual machine of the lab."""
    return [
        "qemu-system-x86_64",
        *("-machine", "q35"),
        *("-accel", "kvm" if accelerator == "kvm" else "tcg,thread=multi"),
        *("-cpu", "host" if accelerator == "kvm" else "max"),
        *("-m", str(memory_mib)),
        *("-display", "none", "-nodefaults", "-no-user-config"),
        *("-kernel", str(kernel)),
    ]


def _press_power_button(name: str) -> None:
    with socket.socket(socket.AF_UNIX) as monitor:
        monitor.settimeout(KILL_SECONDS)
        monitor.connect(str(_monitor(name)))
        with monitor.makefile("rw") as lines:
            # A greeting, and an answer to each command (qemu-qmp-ref(7)).
            for words in ("qmp_capabilities", "system_powerdown"):
                lines.readline()
                lines.write(json.dumps({"execute": words}) + "\n")
                lines.flush()
            lines.readline()


def _seed(name: str) -> Path:
    return NODES / name / "seed.img"


def _image_file(name: str) -> Path:
    return NODES / name / "image"


def _monitor(name: str) -> Path:
    return RUN / f"{name}.monitor"
