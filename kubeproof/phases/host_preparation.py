"""What Kubernetes wants of a host: no swap, kernel settings, names of all nodes."""

from io import StringIO

from pyinfra.api import deploy
from pyinfra.operations import files

from kubeproof.node import paths, templates
from kubeproof.operations import hosts, kernel, record
from kubeproof.roles import cluster

REPLACED_FILES = (paths.DOCKER_CONFIG, paths.ROOT_KUBECONFIG)
"""Files that may be there already and that the deploy replaces as a whole."""


@deploy("Host preparation")
def prepare() -> None:
    """Prepare this host. Needs nothing of the other hosts."""
    record.remember_host(name="Remember what the host is like now", replaced_files=REPLACED_FILES)
    kernel.swap_off(name="Turn swap off, now and at boot")
    files.put(
        name="Load the bridge's netfilter module at boot",
        src=StringIO(templates.render("modules.conf.j2")),
        dest=paths.MODULES_FILE,
        mode="644",
    )
    kernel.bridge_netfilter(name="Load the bridge's netfilter module now")
    settings = templates.render("sysctl.conf.j2")
    files.put(name="Set sysctls at boot", src=StringIO(settings), dest=paths.SYSCTL_FILE, mode="644")
    kernel.sysctls(name="Set sysctls now", text=settings)
    files.put(
        name="Start no pod after a boot before policies are in force",
        src=StringIO(templates.render("podnet-tmpfiles.conf.j2")),
        dest=paths.TMPFILES,
        mode="644",
    )
    hosts.name_nodes(name="Name all nodes in /etc/hosts", text=templates.render("hosts.j2", cluster=cluster()))
