"""Several questions to a host in one round trip: a script that prints sections, and the reader of its output."""

from collections.abc import Mapping, Sequence

_MARK = "##kubeproof "


def script(questions: Mapping[str, str]) -> str:
    """A shell script that prints a section for each question; a command that fails makes its section shorter."""
    asked = "; ".join(f"echo '{_MARK}{name}'; {{ {command}; }} 2>/dev/null" for name, command in questions.items())
    return f"{asked}; true"


def read(output: Sequence[str]) -> dict[str, list[str]]:
    """The lines of each section, without empty ones."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in output:
        if line.startswith(_MARK):
            lines = found.setdefault(line.removeprefix(_MARK), [])
        elif line.strip():
            lines.append(line.rstrip())
    return found
