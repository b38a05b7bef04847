from kubeproof.deploy.facts.packages import Package
from kubeproof.deploy.operations.packages import (
    dnf_planned,
    dnf_removed,
    missing_packages,
    planned_packages,
    removed_packages,
)

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


DNF_INSTALL = """Last metadata expiration check: 0:00:12 ago on Sat Nov 21 07:00:00 2026.
Dependencies resolved.
================================================================================
 Package            Arch     Version                 Repository            Size
================================================================================
Installing:
 containerd.io      x86_64   2.1.5-1.el9             kubeproof-runtime     33 M
 kubelet            x86_64   1.31.2-150500.1.1       kubernetes            15 M
Installing dependencies:
 container-selinux  noarch   4:2.237.0-1.el9         appstream             55 k
 libnetfilter_cthelper
                    x86_64   1.0.0-22.el9            appstream             23 k
Upgrading:
 selinux-policy     noarch   38.1.53-5.el9           baseos                40 k

Transaction Summary
================================================================================
Install  4 Packages
Upgrade  1 Package

Operation aborted.
"""
DNF_REMOVE = """Dependencies resolved.
================================================================================
 Package        Arch    Version            Repository        Size
================================================================================
Removing:
 kubelet        x86_64  1.31.2-150500.1.1  @kubernetes       58 M
Removing dependent packages:
 mine           x86_64  1-1                @System            1 k

Transaction Summary
================================================================================
Remove  2 Packages
"""


def test_dnf_shows_what_it_would_do_before_it_asks() -> None:
    assert dnf_planned(DNF_INSTALL) == ["containerd.io", "kubelet", "container-selinux", "libnetfilter_cthelper"]
    assert dnf_removed(DNF_REMOVE) == ["kubelet", "mine"]
    assert dnf_planned("Error: Unable to find a match: kubelet-1.31.2-*\n") == []


def test_versions_are_joined_as_the_package_manager_wants_them() -> None:
    assert missing_packages({"kubelet": "1.31.2-*", "tcpdump": ""}, {}, "-") == ["kubelet-1.31.2-*", "tcpdump"]
