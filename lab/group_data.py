"""The settings of the lab's cluster, read from where they are declared: also while the lab is down."""

import runpy

from kubeproof.config.settings import NAMES, Settings, parse
from kubeproof.terminal.exits import REPOSITORY

FILES = tuple(REPOSITORY / "inventory" / "group_data" / name for name in ("all.py", "lab.py"))
"""The later one changes what differs, as in pyinfra."""


def settings() -> Settings:
    """What a deploy of the lab will be told. Raises UserError with a line for each problem."""
    declared = {name: value for file in FILES for name, value in runpy.run_path(str(file)).items()}
    return parse({name: value for name, value in declared.items() if name in NAMES})
