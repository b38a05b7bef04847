"""Scripted hosts as a deploy has left them: they answer with what it put there, so that the next one has no change."""

import re
import shlex
import stat
from collections.abc import Iterable
from hashlib import sha256
from pathlib import PurePosixPath

from kubeproof.config.tables import paths
from tests.unit.deploy.phases.fake_cluster import KUBECONFIG, MARK, Command, FakeCluster, Rule, Run, sections

FLAGS = ("remembered", "packages", "initialised")
"""What each host has done, as the rules of `fake_cluster.blank_hosts` name it."""
STAT = "user=root group=root mode={mode} atime=1700000000 mtime=1700000000 ctime=1700000000 size=1 '{path}'"
COPIES = ("/etc/kubernetes/admin.conf", "/root/.kube/config")


def settle(cluster: FakeCluster, run: Run) -> None:
    """Have the hosts of a run that went through answer as they are after it."""
    cluster.flags = (*(f"{name} {flag}" for name in cluster.addresses for flag in FLAGS), "@api")
    cluster.rules[:0] = [*_states(), *_files(run.commands, len(cluster.addresses))]


def _states() -> list[Rule]:
    units = {"SubState": "running", "UnitFileState": "enabled"}
    return [
        *(
            {"match": rf"{key} {unit}\.service", "stdout": f"Id={unit}.service\n{key}={value}"}
            for key, value in units.items()
            for unit in ("docker", "kubelet")
        ),
        {"match": "--list-rules FORWARD", "stdout": "-P FORWARD DROP"},
        {"match": "^for image in", "stdout": ""},
        {"match": f"{MARK}joined", "stdout": sections(joined="x", ca="aaaa")},
        {"match": "kubectl .* diff", "stdout": ""},
    ]


def _files(commands: Iterable[Command], hosts: int) -> list[Rule]:
    """What is asked of each file. A file that is the same on all hosts has one rule for them all."""
    modes: dict[str, str] = {}
    texts: dict[str, dict[str, str]] = {}
    for item in commands:
        if item.stdin and (path := item.file or _written(item.command)):
            texts.setdefault(path, {})[item.host] = item.stdin
        elif item.command.startswith("chmod "):
            _, mode, path = shlex.split(item.command)
            modes[path] = mode
    rules = [_stat(folder, "drwxr-xr-x") for folder in {str(PurePosixPath(path).parent) for path in texts}]
    rules.append({"match": "do sysctl", "stdout": next(iter(texts[paths.SYSCTL_FILE].values()))})
    for path, found in texts.items():
        alike = len(found) == hosts and len(set(found.values())) == 1
        for host, text in list(found.items())[: 1 if alike else None]:
            owner = {} if alike else {"host": host}
            rules += [{**rule, **owner} for rule in _file(path, text, modes.get(path, "644"))]
    return [*rules, *(rule for path in COPIES for rule in _file(path, f"{KUBECONFIG}\n", "600"))]


def _written(command: str) -> str:
    """The file that a command writes its standard input to, else nothing."""
    return shlex.split(command)[-1] if command.startswith("sh -ec") and "cat >" in command else ""


def _file(path: str, text: str, mode: str) -> list[Rule]:
    name, digest = re.escape(path), sha256(text.encode()).hexdigest()
    return [
        _stat(path, stat.filemode(stat.S_IFREG | int(mode, 8))),
        {"match": rf"^test -e {name} && \( sha256sum", "stdout": f"{digest}  {path}"},
        {"match": rf"^cat {name}( |$)", "stdout": text},
    ]


def _stat(path: str, mode: str) -> Rule:
    return {"match": rf"^! \(test -e {re.escape(path)} ", "stdout": STAT.format(path=path, mode=mode)}
