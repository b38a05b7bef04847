"""The doctor: looks at a running or broken cluster, names what is wrong with it, and says what to do about it.

Modules that call themselves pure import nothing that does I/O; so does this one, until :func:`examine` is called.
"""

from pathlib import Path

from kubeproof.config.cluster import LoadedInventory


def examine(loaded: LoadedInventory, json_file: Path | None = None) -> int:
    """Look, print the diagnoses; see :func:`kubeproof.doctor.examining.examine` for the exit code."""
    from kubeproof.doctor import examining

    return examining.examine(loaded, json_file)
