"""Has hosts send each other UDP packets, all at once, and tells who heard whom. Nothing stays behind on them."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from pyinfra.api.host import Host

from kubeproof.config.patience import patient
from kubeproof.deploy.operations.remote import try_run
from kubeproof.rules.before_deploy.inspection import Arrivals
from kubeproof.rules.before_deploy.udp_paths import Mode

SECONDS = 6
"""How long hosts go on trying: they begin at about the same time, with ssh, and only where packets are lost so long."""
END_SECONDS = 30
"""When it is ended in any case, also on a machine that is so busy that programs take long to start."""
PYTHON, PERL, SCRIPT = (Path(__file__).with_name(f"peer.{ending}").read_text() for ending in ("py", "pl", "sh"))
"""Systems with dnf always have some Python 3, those with dpkg a Perl, so that one of the two is there."""


def exchange(host: Host, mode: Mode, port: int, peers: Mapping[str, str]) -> Arrivals:
    """Which of the peers (addresses by name) this host has heard; the peers have to be doing the same."""
    _, output = try_run(host, command(host.name, mode, port, peers))
    return heard(output.splitlines())


def command(name: str, mode: Mode, port: int, peers: Mapping[str, str]) -> list[str]:
    """Words of the command. Pure."""
    words = [f"{peer}={address}" for peer, address in peers.items()]
    program = ["sh", "-c", SCRIPT, "sh", PYTHON, PERL, str(patient(END_SECONDS))]
    return [*program, name, mode, str(port), str(patient(SECONDS)), *words]


def heard(lines: Iterable[str]) -> Arrivals:
    """Reads what was printed; what does not end with "done" is why it was not. Pure."""
    told = [line.strip() for line in lines if line.strip()]
    if "done" not in told:
        return Arrivals(trouble=told[-1] if told else "it printed nothing")
    windows = [line.split()[1:] for line in told if re.fullmatch(r"window [\d.]+ [\d.]+", line)]
    return Arrivals(
        frozenset(line.removeprefix("heard ") for line in told if line.startswith("heard ")),
        window=(float(windows[0][0]), float(windows[0][1])) if windows else None,
    )
