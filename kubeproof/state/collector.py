"""Many commands in one round trip: a shell script that runs them at once, and the reader of what it prints. Pure."""

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

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
CTR = "ctr --namespace k8s.io"
"""containerd's own client, in the namespace of its CRI plugin. It comes with containerd; crictl may not be there."""


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
    def lines(self) -> list[str]:
        """Without empty ones."""
        return [line.rstrip() for line in self.out.splitlines() if line.strip()]

    @property
    def last_words(self) -> str:
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1] if lines else "nothing was printed"


def shell(name: str, **values: str) -> str:
    """The text of a ``.sh`` file of this folder, with variables that it uses; comments are left out."""
    lines = Path(__file__).with_name(f"{name}.sh").read_text().splitlines()
    given = [f"{variable}={shlex.quote(value)}" for variable, value in values.items()]
    return "\n".join([*given, *(line for line in lines if not line.lstrip().startswith("#"))])


def build(commands: Mapping[str, str], *, marker: str, timeout: float) -> str:
    """A POSIX shell script that runs all ``commands`` (name -> shell text) at once, each at most ``timeout`` seconds.

    Names are one word each, and ``marker`` one that no command prints, such as a random hexadecimal number. What is
    printed is kept in memory meanwhile, if that can be: a disk may be full.
    """
    runs = [f"run {name} {shlex.quote(text)} &" for name, text in _words(commands, marker).items()]
    out, err = (f"printf '\\n@@{marker} {kind} %s\\n' $1 >\"$d/$1.{kind}\"" for kind in ("out", "err"))
    return "\n".join(
        [
            "export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "d=$(mktemp -d -p /run 2>/dev/null || mktemp -d) || exit 3; trap 'rm -rf \"$d\"' EXIT",
            # Files that only have to be joined: processes that print them would cost as much as what is asked.
            f"run() {{ {out}; {err}",
            f'timeout -k 1 {timeout:g} sh -c "$2" >>"$d/$1.out" 2>>"$d/$1.err" </dev/null',
            f"printf '\\n@@{marker} rc %s %s' $1 $? >\"$d/$1.rc\"; }}",
            *runs,
            "wait",
            f'cd "$d" && cat {" ".join(f"{name}.out {name}.err {name}.rc" for name in commands)}',
            f"printf '\\n@@{marker} end\\n'",
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
    runs = [f"run {name} {shlex.quote(text)} &" for name, text in _words(commands, marker).items()]
    return "\n".join([run, *runs, "wait", f'printf "\n@@{marker} end\n"'])


def _words(commands: Mapping[str, str], marker: str) -> Mapping[str, str]:
    for word in (marker, *commands):
        if not re.fullmatch(r"[\w-]+", word):
            raise ValueError(f"is not one word: {word!r}")
    return commands


def read(text: str, names: Collection[str] = (), *, marker: str) -> dict[str, Output]:
    """What each command of :func:`build` printed, by name: ``names`` in their order, whichever ended first.

    Raises ParseError where the output is not whole, or has nothing of one of ``names``.
    """
    if not text.rstrip().endswith(f"@@{marker} end"):
        raise ParseError(SOURCE, "end", f"the end mark is missing, it was cut off: …{text[-80:]!r}")
    section = re.compile(
        rf"\n@@{marker} out (?P<name>\S+)\n(?P<out>.*?)\n@@{marker} err (?P=name)\n(?P<err>.*?)"
        rf"\n@@{marker} rc (?P=name) (?P<rc>\d+)",
        re.DOTALL,
    )
    found = {match["name"]: Output(int(match["rc"]), match["out"], match["err"]) for match in section.finditer(text)}
    if missing := [name for name in names if name not in found]:
        raise ParseError(SOURCE, "sections", f"there is none of {', '.join(missing)}")
    return {name: found[name] for name in (*names, *found)}
