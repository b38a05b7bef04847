"""Makes a Kubernetes cluster of the hosts of an inventory: `pyinfra inventory/lab.py deploy.py`.

pyinfra runs one operation after the other, each on all hosts at once. It orders them by host, and where hosts differ by
line: an operation waits only for those that come before it on one of *its own* hosts. A worker's operations would
therefore run in turns with the control plane's, so that a join could come before the end of the init, if nothing that
all hosts have stood between them. `wait_for_api` and `keep_kubelet` do: they are on all hosts for that reason too.
"""

from kubeproof.deploy.context import is_leader
from kubeproof.deploy.phases import (
    cluster_dns,
    container_runtime,
    control_plane,
    demo,
    host_preparation,
    images,
    network_setup,
    packages,
    preflight,
    readiness,
    workers,
)

preflight.check()
host_preparation.prepare()
container_runtime.configure()
packages.install()
container_runtime.start()
network_setup.require_plugins()
images.pull()

if is_leader():
    control_plane.initialise()
    network_setup.apply()

workers.wait_for_api()

if not is_leader():
    workers.join()

workers.keep_kubelet()

if is_leader():
    cluster_dns.apply()
    readiness.wait()
    demo.apply()
