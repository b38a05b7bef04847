"""Control data of the Debian packages."""

import re

import pytest

from lab.mirror import control, packages

SOURCE = "1.20.5+really1.20.2-1.1+deb12u1"
BY_NAME = {package.name: package for package in control.PACKAGES}


def fields(name: str) -> dict[str, str]:
    text = control.control(BY_NAME[name], "1.20.2", "amd64", SOURCE, 4711)
    return dict(re.findall(r"^(\S+): (.*)$", text, re.MULTILINE))


def test_the_kubelet_depends_on_what_upstreams_does() -> None:
    assert fields("kubelet")["Depends"] == (
        "iptables (>= 1.4.21), kubernetes-cni (>= 0.8.6), iproute2, socat, util-linux, mount, ebtables, ethtool, "
        "conntrack"
    )


def test_kubeadm_only_suggests_what_debian_lacks() -> None:
    assert "cri-tools" in fields("kubeadm")["Suggests"]
    assert "cri-tools" not in fields("kubeadm")["Depends"]


@pytest.mark.parametrize("name", ["kubelet", "kubeadm", "kubectl"])
def test_the_version_matches_apts_pin(name: str) -> None:
    assert fields(name)["Version"].startswith("1.20.2-")
    assert fields(name)["Architecture"] == "amd64"


def test_the_plugins_are_links_to_debians() -> None:
    cni = fields("kubernetes-cni")
    assert (cni["Architecture"], cni["Depends"]) == ("all", "containernetworking-plugins (>= 1.1.1)")
    assert BY_NAME["kubernetes-cni"].links["/opt/cni/bin/bridge"] == "/usr/lib/cni/bridge"


@pytest.mark.parametrize("package", control.PACKAGES, ids=lambda package: package.name)
def test_control_files_are_well_formed(package: control.Package) -> None:
    text = control.control(package, "1.20.2", "amd64", SOURCE, 4711)
    assert "\n\n" not in text
    assert text.endswith("\n")
    assert all(len(line) <= 80 for line in text.split("Description:")[1].splitlines())
    assert all(line.startswith(" ") for line in text.split("Description:")[1].splitlines()[1:])


@pytest.mark.parametrize("name", ["kubelet", "kubeadm", "kubectl"])
def test_descriptions_say_where_it_comes_from(name: str) -> None:
    text = " ".join(control.control(BY_NAME[name], "1.20.2", "amd64", SOURCE, 1).split())
    assert f"Built from Debian's source package kubernetes {SOURCE} by Kubeproof, without cloud providers" in text
    assert "reflect2 replaced" in text


def test_every_file_named_exists() -> None:
    for package in control.PACKAGES:
        names = [
            *package.files.values(),
            *package.executables.values(),
            *(f"{package.name}.{script}" for script in package.scripts),
        ]
        assert all((packages.DEBIAN / name).is_file() for name in names)
        assert set(package.conffiles) <= set(package.files)


def test_every_shipped_file_below_etc_is_a_conffile() -> None:
    for package in control.PACKAGES:
        assert {path for path in package.files if path.startswith("/etc/")} == set(package.conffiles)


def test_the_changelog_is_in_debians_form() -> None:
    text = control.changelog(BY_NAME["kubectl"], "1.20.2", SOURCE)
    assert re.match(r"kubectl \(1\.20\.2-\S+\) bookworm; urgency=medium\n\n  \* ", text)
    assert re.search(r"\n\n -- .+ <\S+>  Wed, 13 Jan 2021 00:00:00 \+0000\n$", text)
    assert max(map(len, text.splitlines())) < 80


def test_the_origin_goes_to_the_copyright_files_header() -> None:
    text = control.copyright_text(BY_NAME["kubectl"], SOURCE, "Format: x\nSource: y\n\nFiles: *\n")
    header, rest = text.split("\n\n", 1)
    assert "Comment: Built from" in header
    assert rest == "Files: *\n"


def test_the_key_follows_the_programs() -> None:
    assert packages.packages_key("a", "amd64") != packages.packages_key("b", "amd64")
    assert packages.packages_key("a", "amd64") == packages.packages_key("a", "amd64")
