"""Another pod network takes one module, and two lines where networks are listed."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from kubeproof.terminal.exits import REPOSITORY

HERE = Path(__file__).parent


def test_a_network_is_one_module_and_two_lines(tmp_path: Path) -> None:
    for folder in ("kubeproof", "templates"):
        shutil.copytree(REPOSITORY / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    networks = tmp_path / "kubeproof" / "networks"
    shutil.copy(HERE / "meshnet.py", networks)
    registry = networks / "registry.py"
    before = registry.read_text()
    after = before.replace("import calico, canal, flannel, podnet", "import calico, canal, flannel, meshnet, podnet")
    after = after.replace("        canal.NETWORK,\n", "        canal.NETWORK,\n        meshnet.NETWORK,\n")
    assert len(set(after.splitlines()) - set(before.splitlines())) == 2
    registry.write_text(after)
    path = os.pathsep.join(map(str, (tmp_path, REPOSITORY)))
    done = subprocess.run(
        [sys.executable, HERE / "tour.py"],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["has_settings", "is_planned", "is_proven", "is_reset", "is_in_tables"]
