"""What nodes are asked, and what is made of their answers."""

import base64
import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeproof.doctor.evidence import ControlPlane, Token
from kubeproof.doctor.questions import control_plane_of, of_control_plane, parts_of
from kubeproof.state.collector import Output
from kubeproof.state.part import texts
from tests.unit.proof import good

DAEMON_SET = "NODE_NAME=\nPOD_CIDR=10.98.0.0/16\nNETWORK_POLICY=off\n"


def output(text: str, code: int = 0) -> Output:
    return Output(code, text, "")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def asked(**settings: object) -> dict[str, str]:
    """Of the control plane host."""
    loaded = good.loaded(**settings)
    return texts((*parts_of(loaded, "node-a", nonce="abcd1234"), *of_control_plane(loaded.cluster.settings)))


def plane_of(answers: dict[str, Output], cni: str = "podnet") -> ControlPlane:
    return control_plane_of(good.loaded(cni=cni).cluster.settings, answers)


def test_every_question_is_shell_that_a_shell_takes() -> None:
    for cni in ("podnet", "flannel", "canal"):
        for runtime in ("docker", "containerd"):
            for text in asked(cni=cni, container_runtime=runtime).values():
                subprocess.run(["sh", "-n", "-c", text], check=True)


def test_nobody_is_asked_for_the_secret_of_a_token() -> None:
    assert not any("token-secret" in text for text in asked().values())


def test_the_control_planes_answers() -> None:
    plane = plane_of(
        {
            "tokens": output(f"{encoded('abcdef')} {encoded('2026-01-01T12:00:00Z')}\n{encoded('012345')} \n"),
            "controller_flags": output("--allocate-node-cidrs=true\n--cluster-cidr=10.98.0.0/16\n"),
            "network_cidrs": output(DAEMON_SET),
            "network_policy": output(DAEMON_SET),
            "events": output("kube-system/x=Old: first\nkube-system/x=FailedMount: a=b is no directory\n"),
            "workloads": output("Deployment/kube-system/coredns=0\nDaemonSet/kube-system/kube-proxy=3\nno line\n"),
            "added_selectors": output("{}"),
        }
    )
    assert plane.unreadable == {}
    assert plane.tokens == (Token("abcdef", datetime(2026, 1, 1, 12, tzinfo=UTC)), Token("012345", None))
    assert plane.controller_flags == {"allocate-node-cidrs": "true", "cluster-cidr": "10.98.0.0/16"}
    assert plane.events == {"kube-system/x": "FailedMount: a=b is no directory"}
    assert plane.workloads == {"Deployment/kube-system/coredns": 0, "DaemonSet/kube-system/kube-proxy": 3}
    assert (plane.network_cidrs, plane.network_policy) == (("10.98.0.0/16",), "off")


def test_what_a_daemon_set_selects_nodes_by_beyond_its_manifest() -> None:
    def selecting(**labels: str) -> dict[str, Any]:
        return {"template": {"spec": {"nodeSelector": labels}}}

    def daemon_set(name: str, applied: str) -> dict[str, Any]:
        annotations = {"kubectl.kubernetes.io/last-applied-configuration": applied} if applied else {}
        metadata = {"namespace": "kube-system", "name": name, "annotations": annotations}
        return {"metadata": metadata, "spec": selecting(os="linux", no="where")}

    applied = (json.dumps({"spec": selecting(os="linux")}), json.dumps({"spec": {}}), "")
    items = [daemon_set(f"set-{number}", text) for number, text in enumerate(applied)]
    plane = plane_of({"added_selectors": output(json.dumps({"items": items}))})
    assert plane.added_selectors == {"kube-system/set-0": ("no",), "kube-system/set-1": ("os", "no")}
    assert "added_selectors" in plane_of({"added_selectors": output('{"items": [3]}')}).unreadable


def test_net_conf_of_flannel_and_what_cannot_be_read() -> None:
    plane = plane_of(
        {"network_cidrs": output('{ "Network": "10.9.0.0/16", "Backend": {} }'), "tokens": output("!! !!\n")}, "flannel"
    )
    assert plane.network_cidrs == ("10.9.0.0/16",)
    assert "tokens" in plane.unreadable
    assert plane.unreadable["controller_flags"] == "was not asked"
    last = " ".join(encoded(text) for text in ("abcdef", "0001-01-01T00:00:00+23:00"))
    assert "tokens" in plane_of({"tokens": output(last)}, "flannel").unreadable


@pytest.mark.parametrize(
    ("manifest", "flags", "code"), [("a: b\n", "", 0), (None, "", 1), ("- --cluster-cidr=x\n", "x", 0)]
)
def test_that_there_are_no_flags_is_a_fact(manifest: str | None, flags: str, code: int, tmp_path: Path) -> None:
    file = tmp_path / "kube-controller-manager.yaml"
    if manifest is not None:
        file.write_text(manifest)
    text = asked()["controller_flags"].replace("/etc/kubernetes/manifests/kube-controller-manager.yaml", str(file))
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=False)
    plane = plane_of({"controller_flags": Output(done.returncode, done.stdout, done.stderr)})
    assert (plane.controller_flags.get("cluster-cidr", ""), int("controller_flags" in plane.unreadable)) == (
        flags,
        code,
    )


def test_of_two_families_ipv4_is_taken() -> None:
    flags = output("--cluster-cidr=fd00::/48,10.98.0.0/16\n--allocate-node-cidrs=true\n")
    assert plane_of({"controller_flags": flags}).controller_flags["cluster-cidr"] == "10.98.0.0/16"


@given(st.text(max_size=100), st.sampled_from([0, 1, 127]))
def test_whatever_is_said_becomes_evidence(text: str, code: int) -> None:
    plane = {name: output(text, code) for name in texts(of_control_plane(good.loaded().cluster.settings))}
    assert isinstance(plane_of(plane, "flannel").tokens, tuple)
