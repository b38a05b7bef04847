"""Which control group driver containerd uses for pods, of what `containerd config dump` prints, by a real awk."""

import subprocess
from pathlib import Path

import pytest

from kubeproof.state.containers import CONTAINERD

V1, V2, V3 = "plugins.cri", 'plugins."io.containerd.grpc.v1.cri"', "plugins.'io.containerd.cri.v1.runtime'"


def dump(cri: str, default: str, **drivers: str) -> str:
    """A configuration with runtimes, each with its SystemdCgroup ("" leaves it out), as containerd prints it."""
    quote = "'" if cri == V3 else '"'
    lines = [f"[{cri}.containerd]", *([f"  default_runtime_name = {quote}{default}{quote}"] if default else [])]
    lines += [f"  [{cri}.containerd.default_runtime.options]", "    SystemdCgroup = false"]
    lines += [f"  [{cri}.containerd.runtimes]"]
    for name, value in drivers.items():
        kind = "runc.v2" if name in ("runc", "nvidia", "crun") else f"{name}.v1"
        lines += [f"    [{cri}.containerd.runtimes.{name}]", f"      runtime_type = {quote}io.containerd.{kind}{quote}"]
        lines += [f"      [{cri}.containerd.runtimes.{name}.options]"]
        lines += [f"        SystemdCgroup = {value}"] if value else []
    return "version = 2\n" + "\n".join(lines) + f"\n[{cri}.cni]\n  conf_dir = {quote}/etc/cni/net.d{quote}\n"


def driver(text: str, folder: Path) -> str:
    file = folder / "dump.toml"
    file.write_text(text)
    command = CONTAINERD.driver.replace("containerd config dump", f"cat {file}")
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("cri", [V1, V2, V3])
@pytest.mark.parametrize(
    ("default", "drivers", "expected"),
    [
        ("runc", {"nvidia": "false", "runc": "true"}, "systemd"),
        ("runc", {"runc": "false", "nvidia": "true", "crun": "true"}, "cgroupfs"),
        ("nvidia", {"nvidia": "true", "runc": "false"}, "systemd"),
        ("crun", {"crun": "", "runc": "true"}, "cgroupfs"),
        ("", {"crun": "false", "runc": "true"}, "systemd"),
        ("kata", {"kata": "", "runc": "true"}, ""),
        ("runsc", {"runsc": "", "runc": "true"}, ""),
    ],
)
def test_it_is_that_of_the_default_runtime(
    cri: str, default: str, drivers: dict[str, str], expected: str, tmp_path: Path
) -> None:
    text = dump(cri, default, **drivers)
    assert driver(text, tmp_path) == expected
    assert driver(text.replace(" = ", "=").replace("  ", ""), tmp_path) == expected
    assert driver(text.replace(" = ", "\t=  ").replace("[", "[ ").replace("\n", " # own\r\n"), tmp_path) == expected


def test_nothing_is_known_without_it(tmp_path: Path) -> None:
    assert driver("", tmp_path) == ""
    assert driver(f"[{V2}.registry]\nconfig_path = '/etc/containerd/certs.d'\n", tmp_path) == ""
