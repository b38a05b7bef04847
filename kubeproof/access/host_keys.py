"""What it means that a host answers with another key than is known of it, and what to do."""

import shlex

from kubeproof.access import ssh_options
from kubeproof.config.cluster import SshAccess

CHANGED = "REMOTE HOST IDENTIFICATION HAS CHANGED"
"""OpenSSH's words (sshconnect.c)."""
DEFAULT_FILE = "~/.ssh/known_hosts"


def explanation(access: SshAccess) -> str:
    """One line, without the host's name."""
    name = access.hostname if access.port in (None, 22) else f"[{access.hostname}]:{access.port}"
    jump = ssh_options.effective(access).get("proxyjump", "none")
    who = (
        "it" if jump == "none" else f"it, or its jump host {jump} (`{shlex.join(access.command())} true` tells which),"
    )
    return (
        f"{who} answers with another host key than known_hosts has, so nothing was sent to it: the host was installed "
        "anew, or there is somebody in between. If it was installed anew, compare the fingerprint at its console "
        f"(ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) and replace the old key: ssh-keygen -R {name} -f "
        f"{_known_hosts(access)}"
    )


def _known_hosts(access: SshAccess) -> str:
    """The first of the files that ssh looks this host up in; "none" is a value that it has, too."""
    files = ssh_options.effective(access).get("userknownhostsfile", "").split()
    return files[0] if files else DEFAULT_FILE
