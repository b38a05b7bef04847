from kubeproof.facts.packages import Package
from kubeproof.operations.packages import missing_packages, planned_packages, removed_packages

SIMULATED = """Reading package lists...
Inst runc (1.1.5 Debian:12 [amd64])
Inst libc6 [2.36-9] (2.36-10 Debian:12 [amd64])
Inst docker.io (20.10.24 Debian:12 [amd64])
Conf runc (1.1.5 Debian:12 [amd64])
"""


def test_missing() -> None:
    installed = {"kubelet": Package("1.20.2-1", held=True), "kubeadm": Package("1.19.0-1", held=False)}
    wanted = {"docker.io": "", "kubelet": "1.20.2-*", "kubeadm": "1.20.2-*", "kubectl": "1.20.2-1"}
    assert missing_packages(wanted, installed) == ["docker.io", "kubeadm=1.20.2-*", "kubectl=1.20.2-1"]


def test_planned_are_those_that_were_not_there() -> None:
    assert planned_packages(SIMULATED) == ["runc", "docker.io"]


def test_removed() -> None:
    assert removed_packages("Purg kubelet [1.20.2]\nRemv mine [1]\nInst x (1)\n") == ["kubelet", "mine"]
