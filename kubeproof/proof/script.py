"""Many commands in one round trip: a shell script that runs them at once, and the reader of what it prints. Pure."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from kubeproof.state.errors import ParseError

TIMED_OUT = 124
"""Exit code of timeout(1) when it had to end the command."""
KILLED = 137
"""Exit code after timeout(1) had to send KILL."""
TERMINATED = 143
"""Exit code of busybox's timeout, which becomes the command that it ends by TERM."""
NOT_EXECUTABLE = 126
NOT_FOUND = 127
SOURCE = "script output"


@dataclass(frozen=True)
class Output:
    """What one command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def timed_out(self) -> bool:
        return self.code in (TIMED_OUT, KILLED, TERMINATED)

    @property
    def last_words(self) -> str:
        """The last line of what it said, for an error message."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1] if lines else "nothing was printed"


def build(commands: Mapping[str, str], *, marker: str, timeout: float) -> str:
    """A POSIX shell script that runs all ``commands`` (name -> shell text) at once, each at most ``timeout`` seconds.

    ``marker`` must be a word that no command prints, such as a random hexadecimal number.
    """
    if not re.fullmatch(r"\w+", marker):
        raise ValueError(f"marker is not one word: {marker!r}")
    runs = [f"run {number} {shlex.quote(text)} &" for number, text in enumerate(commands.values())]
    return "\n".join(
        [
            "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "d=$(mktemp -d) || exit 3; trap 'rm -rf \"$d\"' EXIT",
            f'run() {{ timeout -k 1 {timeout:g} sh -c "$2" >"$d/$1.out" 2>"$d/$1.err" </dev/null; '
            'echo $? >"$d/$1.rc"; }',
            *runs,
            "wait",
            f"n=0; while [ $n -lt {len(commands)} ]; do",
            f'  printf "\\n@@{marker} out %s\\n" $n; cat "$d/$n.out"',
            f'  printf "\\n@@{marker} err %s\\n" $n; cat "$d/$n.err"',
            f'  printf "\\n@@{marker} rc %s " $n; cat "$d/$n.rc"',
            "  n=$((n + 1)); done",
            f'printf "@@{marker} end\\n"',
        ]
    )


def build_inside(commands: Mapping[str, str], *, marker: str, timeout: float) -> str:
    """As :func:`build`, for a container that may have no writable folder and the fewest tools.

    Each output is printed by one printf, which the pipe keeps whole up to 4096 bytes (pipe(7), PIPE_BUF); standard
    error is part of it.
    """
    run = (
        f'run() {{ out=$(timeout {timeout:g} sh -c "$2" 2>&1 </dev/null); rc=$?; '
        f'printf "\n@@{marker} out %s\n%s\n@@{marker} err %s\n\n@@{marker} rc %s %s\n" $1 "$out" $1 $1 $rc; }}'
    )
    runs = [f"run {number} {shlex.quote(text)} &" for number, text in enumerate(commands.values())]
    return "\n".join([run, *runs, "wait", f'printf "\n@@{marker} end\n"'])


def read(text: str, commands: Mapping[str, str], *, marker: str) -> dict[str, Output]:
    """What each command of :func:`build` printed, by name. Raises ParseError where the output is not whole."""
    if not text.rstrip().endswith(f"@@{marker} end"):
        raise ParseError(SOURCE, "end", f"the end mark is missing, it was cut off: …{text[-80:]!r}")
    section = re.compile(
        rf"\n@@{marker} out (?P<number>\d+)\n(?P<out>.*?)\n@@{marker} err \d+\n(?P<err>.*?)"
        rf"\n@@{marker} rc \d+ (?P<rc>\d+)",
        re.DOTALL,
    )
    found = {
        int(match["number"]): Output(int(match["rc"]), match["out"], match["err"]) for match in section.finditer(text)
    }
    if missing := [name for number, name in enumerate(commands) if number not in found]:
        raise ParseError(SOURCE, "sections", f"there is none of {', '.join(missing)}")
    return {name: found[number] for number, name in enumerate(commands)}
