"""`./inv bench`, one round of it: both sides reach the same cluster, and the deployed one is left."""

import re

import pytest

from tests.lab.commands import changes, holds, succeed

pytestmark = pytest.mark.usefixtures("running_lab")


def test_it_prints_both_sides_and_their_ratio_and_leaves_a_cluster() -> None:
    output = succeed("bench", "--rounds", "1")
    seconds = {
        side: float(re.search(rf"^{re.escape(side)} +([0-9.]+)s +\1s$", output, re.M)[1])  # type: ignore[index]
        for side in ("bare commands over ssh", "deploy (pyinfra)")
    }
    bare, deploy = seconds.values()
    ratio = re.search(r"^ratio +([0-9.]+) +\1$", output, re.M)
    assert ratio, output[-2000:]
    assert float(ratio[1]) == pytest.approx(deploy / bare, abs=0.02)
    assert changes(succeed("plan")) == 0
    assert holds(succeed("verify"))
