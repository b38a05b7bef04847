"""The proof that a cluster's network is what Kubernetes promises: checks of live state, probes, and their report.

Modules that call themselves pure import nothing that does I/O; so does this one, until :func:`verify` is called.
"""

from pathlib import Path

from kubeproof.config.cluster import LoadedInventory


def verify(loaded: LoadedInventory, json_file: Path | None = None) -> int:
    """Prove a cluster's network and print the report; see :func:`kubeproof.proof.proving.verify` for the exit code."""
    from kubeproof.proof import proving
    from kubeproof.proof.report import write_json
    from kubeproof.terminal.reporting import Output

    return proving.verify(loaded, [Output("--json", json_file, write_json)])
