"""Whose work a process does: its stack, sampled by processor time, told to the innermost frame of pyinfra, of this
project or of the scripted hosts. What the standard library does is told to whoever called it.
"""

import signal
from collections import Counter
from pathlib import Path
from types import FrameType

SECONDS = 0.01
"""Processor time between two samples."""
OWNERS = {
    "/kubeproof/deploy/pyinfra_lookups": "pyinfra",  # its own work, done in its place
    "/pyinfra/": "pyinfra",
    "/pyinfra_cli/": "pyinfra",
    "/kubeproof/": "this project",
    "/tests/": "the scripted hosts",
}
OTHERS = "the rest (imports, gevent)"


def start(file: str) -> None:
    """Write a line for each sample of this process into a file: whose it is, and in which function."""
    output = Path(file).open("w", buffering=1)  # noqa: SIM115 - as long as the process lives

    def sample(_: int, frame: FrameType | None) -> None:
        output.write(f"{told(frame)}\n")

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)


def told(frame: FrameType | None) -> str:
    """Whose a stack is, and the function of its innermost frame that has an owner."""
    while frame:
        name = frame.f_code.co_filename
        for part, owner in OWNERS.items():
            if part in name:
                return f"{owner}\t{name[name.index(part) + 1 :]} {frame.f_code.co_name}"
        frame = frame.f_back
    return f"{OTHERS}\t"


def shares(text: str, most: int) -> list[tuple[float, str]]:
    """Shares of owners, and of the functions with the largest, by size."""
    lines = [line.split("\t") for line in text.splitlines()]
    owners = Counter(owner for owner, _ in lines)
    functions = Counter(f"{owner}: {function}" for owner, function in lines if function)
    found = [*owners.most_common(), *functions.most_common(most)]
    return [(count / len(lines), name) for name, count in found]
