"""What a host's kubelet, container runtime and control plane said last, where kubeadm only knows that it waited."""

import re
from pathlib import Path

from pyinfra.api.host import Host

from kubeproof.config.tables.runtimes import Runtime
from kubeproof.deploy.operations.remote import try_run

SECONDS = 20
"""How long the journal may take to answer."""
LONGEST = 500
"""Characters of a line that are shown."""
NOISE = (
    r"connection refused|node .* not found|no such host|node lease|ensure lease exists|TLS handshake timeout|"
    r"Unable to (register|write event)|cni config uninitialized|No networks found"
)
"""What kubelet says as long as there is no API server or pod network, whatever the reason."""
SCRIPT = Path(__file__).with_name("last_errors.sh").read_text()
_ADVICE = re.compile(
    r"^\s*(Unfortunately, an error has occurred|This error is likely caused|(Additionally, a|A) control plane)"
)
"""How kubeadm's general advice begins (cmd/kubeadm/app/cmd/phases, kubeletFailMsg and its like)."""
_END_OF_ADVICE = re.compile(r"^(error |\[)")


def of(host: Host, runtime: Runtime, marker: str) -> list[str]:
    """A line for each program that has failed since the file ``marker`` was written; empty if none has, or tells."""
    units = ["kubelet.service", runtime.service, *(["cri-docker.service"] if runtime.cri_dockerd else [])]
    asked = dict.fromkeys((*units, "containerd.service"))
    _, output = try_run(host, ["sh", "-c", SCRIPT, "sh", marker, str(SECONDS), NOISE, *asked])
    return [line.strip()[:LONGEST] for line in output.splitlines() if line.strip()]


def without_advice(output: str) -> str:
    """What kubeadm wrote, without what it advises whatever the reason. Pure."""
    kept: list[str] = []
    advising = False
    for line in output.splitlines():
        advising = (advising or bool(_ADVICE.match(line))) and not _END_OF_ADVICE.match(line)
        if not advising and line.strip():
            kept.append(line)
    return "\n".join(kept)
