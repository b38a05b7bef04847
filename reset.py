"""Takes the cluster off the hosts of an inventory: `pyinfra inventory/lab.py reset.py`.

Each host ends as it was before the first deploy. With KUBEPROOF_KEEP_HOSTS=1 in the environment only the cluster goes:
Docker, the packages and the images stay for the next one.

Workers leave first: each of the two `leave` is one operation, and pyinfra runs operations that no host orders by line.
"""

import os

from kubeproof.deploy.context import is_leader
from kubeproof.deploy.phases import preflight, taking_away

preflight.check_ownership()

if not is_leader():
    taking_away.leave()
if is_leader():
    taking_away.leave()
    taking_away.forget_kubeconfig()

taking_away.remove_network()
if not os.environ.get("KUBEPROOF_KEEP_HOSTS"):
    taking_away.restore()
