"""Runs Debian's iptables; the variant (nft or legacy) must be the node's own, or nobody else sees the rules."""

import subprocess

from agents.podnet.plan import PodnetError

WAIT_SECONDS = "5"
"""How long to wait for another user of the xtables lock (iptables-legacy only)."""


def chain(table: str, name: str) -> list[str]:
    """Rules of a chain as ``iptables -S`` writes them, without its policy."""
    listed = _run(["iptables", "-w", WAIT_SECONDS, "-t", table, "-S", name])
    return [line for line in listed.splitlines() if line.startswith("-A ")]


def restore(text: str) -> None:
    """Apply lines in one transaction; what they do not name stays."""
    _run(["iptables-restore", "-w", WAIT_SECONDS, "--noflush"], text)


def _run(command: list[str], text: str | None = None) -> str:
    # Comments of others may be of any bytes.
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, encoding="utf-8", errors="surrogateescape", check=False
    )
    if done.returncode != 0:
        raise PodnetError(f"{' '.join(command)}: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout
