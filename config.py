"""pyinfra's own configuration; the pyinfra command reads it from the folder that it is started in."""

import os

from pyinfra import config
from pyinfra.context import ctx_state

from kubeproof.access import jumps
from kubeproof.deploy import pyinfra_lookups, run_events

# A host that fails does not stop the others: they finish what does not need it, and the exit code is 1. What does need
# it, such as a join after a failed init, asks for its state and fails with that reason. (Set in deploy.py this would
# have no effect.)
config.FAIL_PERCENT = None

config.REQUIRE_PYINFRA_VERSION = "~=3.10"

# Seconds; a host that does not answer within them is down, not slow. ./inv tells the inventory's patience.
config.CONNECT_TIMEOUT = round(10 * float(os.environ.get("KUBEPROOF_PATIENCE", "1")))

pyinfra_lookups.remember()
jumps.follow_ssh()
run_events.listen(ctx_state.get())
