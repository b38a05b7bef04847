from pathlib import Path

import pytest

from lab import shell


@pytest.fixture(autouse=True)
def log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A log of the test's own: tests leave no trace in the machine's, which the lab may be writing to."""
    file = tmp_path / "log" / "lab.log"
    monkeypatch.setattr(shell, "LOG_FILE", file)
    return file
