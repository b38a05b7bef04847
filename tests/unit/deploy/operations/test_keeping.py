"""What the deploy replaces is kept, by the command that runs on hosts."""

import subprocess
from pathlib import Path

from kubeproof.deploy.operations.managed_files import KEEP


def test_files_are_kept_with_their_paths_from_whatever_folder(tmp_path: Path) -> None:
    kept, home = tmp_path / "kept", tmp_path / "home"
    there = tmp_path / "etc/docker/daemon.json"
    there.parent.mkdir(parents=True)
    home.mkdir()
    there.write_text("{}")
    there.chmod(0o640)
    files = [str(there), str(tmp_path / "not/there")]
    subprocess.run(["sh", "-ec", KEEP, "keep", str(kept), *files], cwd=home, check=True, timeout=60)
    copy = kept / there.relative_to("/")
    assert (copy.read_text(), copy.stat().st_mode & 0o777, kept.stat().st_mode & 0o777) == ("{}", 0o640, 0o700)
    assert [file for file in kept.rglob("*") if file.is_file()] == [copy]
