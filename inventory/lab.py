"""The lab's hosts: system containers on this machine (`./inv lab.up`), in the shape that lab/lab.toml gives them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from kubeproof.terminal.exits import started_from_repository
from lab.inventory import hosts

# Before anything else: started elsewhere, pyinfra would miss config.py.
started_from_repository()

# Refuses to name hosts while the lab is down: packets to their addresses would leave by the machine's uplink.
control_plane = hosts("control-plane")
workers = hosts("worker")
