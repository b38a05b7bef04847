"""What a worker needs to join, read from what kubeadm prints. Pure."""

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(r"--token\s+([a-z0-9]{6}\.[a-z0-9]{16})\b")
"""Form of a bootstrap token (k8s.io/cluster-bootstrap/token/api, BootstrapTokenPattern)."""
_CA_HASH = re.compile(r"--discovery-token-ca-cert-hash\s+(sha256:[0-9a-f]{64})\b")


@dataclass(frozen=True)
class Credentials:
    """A bootstrap token and the pin of the cluster's CA."""

    token: str = field(repr=False)
    ca_hash: str

    @property
    def token_id(self) -> str:
        """The public half of the token, by which it is deleted."""
        return self.token.partition(".")[0]


def credentials(join_command: str) -> Credentials | None:
    """Reads what ``kubeadm token create --print-join-command`` prints; None if it is something else."""
    token, ca_hash = _TOKEN.search(join_command), _CA_HASH.search(join_command)
    return Credentials(token[1], ca_hash[1]) if token and ca_hash else None
