"""Shell scripts for hosts, each in a file beside the module that uses it."""

from pathlib import Path


def read(module_file: str, name: str) -> str:
    """The text of a script in the folder of a module, whose ``__file__`` is given."""
    return Path(module_file).with_name(name).read_text()
