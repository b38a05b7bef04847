"""What a deploy costs with many hosts: ``python -m tests.scale.hosts [10 100 1000]``, which `./inv bench --hosts` runs.

The hosts are scripted: pyinfra's own commands and facts, this project's checks and operations, and no ssh, so that only
what happens on the machine that deploys is measured. "plan" is `deploy.py --dry` on blank hosts, "deploy" all of it.
Each is a process of its own; times are its processor time, with the import of pyinfra. "as pyinfra is" leaves out what
kubeproof/deploy/pyinfra_lookups.py remembers for it.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import IO

from tests.unit.deploy.phases.fake_cluster import FakeCluster, blank_hosts, host_facts

SIZES = (10, 100, 1000)
FIRST = IPv4Address("172.16.0.1")
SETTINGS: dict[str, object] = {"node_network": "172.16.0.0/16", "pod_cidr": "10.64.0.0/12"}
"""Room for 4,096 nodes; by default there is room for 256."""
RUN = "import sys; from {module} import run; run(sys.argv[1:])"
FORGET = "from kubeproof.deploy import pyinfra_lookups; pyinfra_lookups.remember = lambda: None; "


@dataclass
class Process:
    """Starts a run in a process of its own, and knows what it has cost."""

    before: str = ""
    seconds: float = 0
    mebibytes: int = 0

    def __call__(self, module: str, words: Sequence[str], environment: Mapping[str, str], output: IO[str]) -> int:
        code = [sys.executable, "-c", self.before + RUN.format(module=module), *words]
        child = subprocess.Popen(code, env=environment, stdout=output, stderr=output)
        _, status, used = os.wait4(child.pid, 0)
        self.seconds, self.mebibytes = used.ru_utime + used.ru_stime, used.ru_maxrss // 1024
        return os.waitstatus_to_exitcode(status)


def measured(size: int, *words: str, before: str = "") -> Process:
    """Run the deploy on that many blank hosts. Raises RuntimeError with its output if it fails."""
    addresses = {"master" if not number else f"node{number}": str(FIRST + number) for number in range(size)}
    process = Process(before)
    with tempfile.TemporaryDirectory() as folder:
        rules = blank_hosts([host_facts(name, address) for name, address in addresses.items()], names=addresses)
        cluster = FakeCluster(Path(folder), rules, addresses=addresses, settings=SETTINGS, start=process)
        run = cluster.run("deploy.py", *words)
    if run.code:
        raise RuntimeError(f"{size} hosts: {' '.join(words)}: exit code {run.code}\n{run.output[-2000:]}")
    return process


def main(sizes: Sequence[int]) -> None:
    """Print a line for each number of hosts."""
    print("hosts   plan: as pyinfra is   with lookups remembered   ratio     MiB   deploy     MiB", flush=True)
    for size in sizes:
        plain, plan = measured(size, "--dry", before=FORGET), measured(size, "--dry")
        deploy = measured(size, "-y")
        print(
            f"{size:5} {plain.seconds:19.1f} s {plan.seconds:23.1f} s {plain.seconds / plan.seconds:7.1f}"
            f" {plan.mebibytes:7} {deploy.seconds:6.1f} s {deploy.mebibytes:7}",
            flush=True,
        )


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or SIZES)
