"""Reports that are written to files as well."""

import json
from pathlib import Path

import pytest

from kubeproof.terminal import output_files
from kubeproof.terminal.errors import UserError
from kubeproof.terminal.reporting import as_json, reported


def test_the_file_is_written_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "proof.json"
    file.write_text("old")
    made = {"found": "✓"}
    outputs = [as_json(file, lambda report: report)]
    assert reported(lambda: made, lambda *_: None, lambda _: True, outputs) == 0
    assert json.loads(file.read_text()) == made
    assert [entry.name for entry in tmp_path.iterdir()] == ["proof.json"]


def test_a_file_that_cannot_be_written_leaves_the_old_one_and_no_other(tmp_path: Path) -> None:
    folder = tmp_path / "proof.json"
    folder.mkdir()
    with pytest.raises(UserError, match="cannot be written"):
        output_files.write("--json", folder, "{}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["proof.json"]
