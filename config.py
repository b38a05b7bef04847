"""pyinfra's own configuration; the pyinfra command reads it from the folder that it is started in."""

from pyinfra import config

# A cluster is one thing: when one host fails a step, the others must not go on as if it were there. Without this,
# workers try to join a control plane that was never initialised. (Set in deploy.py it would have no effect.)
config.FAIL_PERCENT = 0

config.REQUIRE_PYINFRA_VERSION = "~=3.10"

# A host that does not answer within this many seconds is down, not slow.
config.CONNECT_TIMEOUT = 10
