"""What a deploy costs with many hosts: ``python -m tests.scale.hosts [10 100 1000]``, which `./inv bench --hosts` runs.

The hosts are scripted: pyinfra's own commands and facts, this project's checks and operations, and no ssh, so that only
what happens on the machine that deploys is measured. "plan" is `deploy.py --dry` on blank hosts, "deploy" all of it,
and "no change" another one after it. Each is a process of its own; times are its processor time, with the import of
pyinfra. "as pyinfra is" leaves out what kubeproof/deploy/pyinfra_lookups.py remembers for it.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import IO

from tests.scale import sampling
from tests.unit.deploy.phases.fake_cluster import FakeCluster, Run, blank_hosts, host_facts
from tests.unit.deploy.phases.settled import settle

SIZES = (10, 100, 1000)
FUNCTIONS = 8
"""So many are named in a profile."""
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


def measured(size: int) -> tuple[Process, Process, Process, Process]:
    """What these cost on that many hosts: a plan as pyinfra is, a plan, a deploy, and a deploy that has no change.

    Raises RuntimeError with its output for what fails, or changes a host that it need not.
    """
    with tempfile.TemporaryDirectory() as folder:
        cluster = hosts(Path(folder), size)
        plain, plan, deploy, again = Process(FORGET), Process(), Process(), Process()
        finished(cluster, plain, "--dry")
        finished(cluster, plan, "--dry")
        settle(cluster, finished(cluster, deploy, "-y"))
        _without_change(finished(cluster, again, "-y"))
    return plain, plan, deploy, again


def hosts(folder: Path, size: int) -> FakeCluster:
    addresses = {"master" if not number else f"node{number}": str(FIRST + number) for number in range(size)}
    rules = blank_hosts([host_facts(name, address) for name, address in addresses.items()], names=addresses)
    return FakeCluster(folder, rules, addresses=addresses, settings=SETTINGS)


def finished(cluster: FakeCluster, process: Process, *words: str) -> Run:
    cluster.start = process
    run = cluster.run("deploy.py", *words)
    if run.code:
        raise RuntimeError(f"{len(cluster.addresses)} hosts: {words}: exit code {run.code}\n{run.output[-2000:]}")
    return run


def _without_change(run: Run) -> None:
    if not re.search(r"Grand total +[0-9]+ +- +- +[0-9]+", run.output):  # hosts, changes, errors, neither
        raise RuntimeError(f"a deploy with nothing to do changes something:\n{run.output[-6000:]}")


def profile(size: int) -> list[tuple[float, str]]:
    """Whose the processor time of a plan of that many blank hosts is."""
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples"
        sampled = Process(f"from tests.scale import sampling; sampling.start({str(samples)!r}); ")
        finished(hosts(Path(folder), size), sampled, "--dry")
        return sampling.shares(samples.read_text(), FUNCTIONS)


def main(sizes: Sequence[int]) -> None:
    """Print a line for each number of hosts, and the profile of the largest plan."""
    print(f"hosts{'plan, as pyinfra is':>26}{'plan':>16}{'deploy':>22}{'no change':>20}", flush=True)
    for size in sizes:
        costs = measured(size)
        print(f"{size:5}" + "".join(f"{cost.seconds:9.1f} s {cost.mebibytes:5} MiB" for cost in costs), flush=True)
    print(f"\nWhose a plan of {sizes[-1]} hosts is:")
    for share, name in profile(sizes[-1]):
        print(f"{share:6.0%}  {name}")


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or SIZES)
