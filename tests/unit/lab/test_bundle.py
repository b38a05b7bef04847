"""What a bundle is made of, where its content goes, what is refused, and what an interruption leaves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kubeproof.config.settings import parse
from kubeproof.deploy import manifest_source
from kubeproof.terminal.errors import UserError
from lab import archive, bundle, bundle_file, debian_copy, group_data, machine, mirror, nodes, paths, rootfs, settings
from lab.mirror import additions
from lab.settings import LabSettings
from tests.unit.samples import SETTINGS

STATUS = """\
Package: a
Status: install ok installed
Version: 1

Package: base
Essential: yes
Status: install ok installed

Package: gone
Status: deinstall ok config-files
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabSettings:
    """The lab as it comes, on a machine whose mirror is built."""
    machine_is(monkeypatch, tmp_path / "first")
    root = tmp_path / "root"
    (root / "var/lib/dpkg").mkdir(parents=True)
    (root / "var/lib/dpkg/status").write_text(STATUS)
    monkeypatch.setattr(rootfs, "ensure", lambda _system: root)
    monkeypatch.setattr(debian_copy, "make", lambda folder, wanted: write(folder / archive.INDEX, f"{wanted}"))
    monkeypatch.setattr(bundle, "_add_wheels", lambda folder: write(folder / "a.whl", "wheel"))
    monkeypatch.setattr(bundle, "_architecture", lambda: "amd64")
    monkeypatch.setattr(nodes, "existing", list)
    monkeypatch.setattr(mirror, "status", lambda _lab: [("registry", "http://x", "stopped")])
    for kind in bundle.KINDS:
        write(paths.CACHE / kind / "key" / "file", kind)
    write(paths.CACHE / "source" / ".partial-x" / "file", "half")
    write(paths.CACHE / "images/index.json", "first")
    return settings.parse(settings.read_file(settings.FILE), {})


def machine_is(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(paths, "CACHE", folder / "cache")
    monkeypatch.setattr(paths, "RUN", folder / "run")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "user"))


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def everything(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def saved(lab: LabSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle, and from then on another machine."""
    bundle.save(lab, tmp_path / "b")
    machine_is(monkeypatch, tmp_path / "second")
    return tmp_path / "b"


def problems(action: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(UserError) as error:
        action()
    assert all("\n" not in line for line in error.value.problems)
    return error.value.problems


def test_another_machine_has_what_the_first_one_had(saved: Path, lab: LabSettings) -> None:
    assert not bundle.in_use()
    bundle.use(lab, saved)
    found = everything(paths.CACHE)
    assert found.pop("bundle/about").startswith("made ")
    assert "by Kubeproof 0.1.0 for debian-12" in bundle.in_use()
    suites = found.pop("bundle/debian/suites")
    assert "'a'" in suites
    assert "'docker.io'" in suites
    assert "'mmdebstrap'" in suites
    assert "'python3-venv'" in suites
    assert "gone" not in suites
    assert found == {
        **{f"{kind}/key/file": kind for kind in bundle.KINDS},
        "images/index.json": "first",
        "bundle/wheels/a.whl": "wheel",
    }


def test_what_is_there_is_replaced_by_what_is_in_the_bundle(saved: Path, lab: LabSettings) -> None:
    write(paths.CACHE / "images/index.json", "second")
    write(paths.CACHE / "bundle/old", "old")
    write(paths.CACHE / "source/key/file", "kept: the key is its content's")
    bundle.use(lab, saved)
    assert (paths.CACHE / "images/index.json").read_text() == "first"
    assert (paths.CACHE / "source/key/file").read_text().startswith("kept")
    assert not (paths.CACHE / "bundle/old").exists()


def test_nothing_of_the_work_stays(saved: Path, tmp_path: Path) -> None:
    assert not list((tmp_path / "first/cache/build").iterdir())
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [saved.name]


def test_the_pod_networks_manifest_is_in_it(lab: LabSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = manifest_source.Wanted("https://example.net/flannel.yaml", "0" * 64, "flannel")
    monkeypatch.setattr(group_data, "settings", lambda: parse({**SETTINGS, "cni": "flannel"}))
    monkeypatch.setattr("lab.network_requirements.check", lambda *_: None)
    monkeypatch.setattr(manifest_source, "wanted_manifest", lambda _settings: wanted)
    monkeypatch.setattr(manifest_source, "verified", lambda _wanted: b"kind: List")
    bundle.save(lab, tmp_path / "b")
    machine_is(monkeypatch, tmp_path / "second")
    bundle.use(lab, tmp_path / "b")
    assert (manifest_source.cache_folder() / f"{'0' * 64}.yaml").read_text() == "kind: List"


def test_a_place_that_cannot_be_written_to_is_told_before_anything_is_made(lab: LabSettings, tmp_path: Path) -> None:
    write(tmp_path / "there", "")
    assert "is there already" in problems(lambda: bundle.save(lab, tmp_path / "there"))[0]
    assert "its folder is not there" in problems(lambda: bundle.save(lab, tmp_path / "no/where"))[0]


def test_everything_that_is_against_a_bundle_is_told_at_once(
    saved: Path, lab: LabSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(additions.layout() / additions.NAMES, '{"added-1": "calico/cni:v1"}')
    before = everything(paths.CACHE)
    monkeypatch.setattr(bundle, "_architecture", lambda: "arm64")
    monkeypatch.setattr(nodes, "existing", lambda: ["k8s-master"])
    monkeypatch.setattr(mirror, "status", lambda _lab: [("registry", "http://x", "running (pid 1)")])
    monkeypatch.setattr(machine, "_free_gib", lambda _folder: 0.1)
    other = settings.parse(settings.read_file(settings.FILE), {"KUBEPROOF_LAB_SYSTEM": "debian-13"})
    said = problems(lambda: bundle.use(other, saved))
    assert [line.partition(":")[0] for line in said] == ["mirror", str(saved), str(saved), "images", "disk"]
    assert "(k8s-master, registry)" in said[0]
    assert "is for amd64, this machine is arm64" in said[1]
    assert "debian-13" in said[2]
    assert "calico/cni:v1" in said[3]
    assert everything(paths.CACHE) == before


def test_a_file_that_is_missing_is_told(lab: LabSettings, tmp_path: Path) -> None:
    assert "is no file" in problems(lambda: bundle.use(lab, tmp_path / "absent"))[0]
    assert "is no file" in problems(lambda: bundle.use(lab, tmp_path))[0]


def test_a_damaged_bundle_leaves_everything_as_it_was(saved: Path, lab: LabSettings) -> None:
    write(paths.CACHE / "bundle/about", "old")
    saved.write_bytes(saved.read_bytes()[:-200])
    problems(lambda: bundle.use(lab, saved))
    assert everything(paths.CACHE) == {"bundle/about": "old"}


@pytest.mark.parametrize("moment", ["unpack", "place"])
def test_an_interruption_leaves_no_bundle_in_use(
    saved: Path, lab: LabSettings, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    unpack = bundle_file.unpack

    def interrupted(*words: object) -> None:
        if moment == "place":
            unpack(*words)  # type: ignore[arg-type]
            monkeypatch.setattr(bundle, "_place", interrupt)
        else:
            interrupt()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bundle_file, "unpack", interrupted)
        with pytest.raises(KeyboardInterrupt):
            bundle.use(lab, saved)
    assert everything(paths.CACHE) == {}
    assert not archive.in_bundle()


def test_names_of_installed_packages_only() -> None:
    assert bundle.parse_installed(STATUS) == ["a", "base"]
