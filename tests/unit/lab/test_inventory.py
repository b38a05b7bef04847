"""The lab's inventory names hosts only while their addresses lead to them."""

from pathlib import Path

import pytest

from kubeproof.terminal.errors import UserError
from lab.inventory import require_up
from lab.settings import FILE, parse, read_file

LAB = parse(read_file(FILE), {})


def test_lab_that_is_up(tmp_path: Path) -> None:
    (tmp_path / LAB.bridge).mkdir()
    require_up(LAB, interfaces=tmp_path)


def test_lab_that_is_down(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lab: is down .* start it with `\./inv lab.up`"):
        require_up(LAB, interfaces=tmp_path)
