"""Stand-ins for ssh and sudo on this machine: hosts whose sudo asks for a password, or does not."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSWORD = "Tr0ub4dor & 3"

SSH = """#!/bin/sh
# As ssh(1): options and the host, then the rest joined with spaces for the host's shell. A host of that name is down.
while :; do case $1 in -o|-l|-p|-i|-F) shift 2;; -t|-W) shift;; *) break;; esac; done
KP_HOST=$1; export KP_HOST; shift
[ "$KP_HOST" != down ] || { echo 'ssh: connect to host down port 22: No route to host' >&2; exit 255; }
exec sh -c "$*"
"""
SUDO = """#!/bin/sh
# As sudo(8) 1.9: -n must not ask, -S reads up to three lines, and what is left is the command's.
mode=
while :; do case $1 in -n) mode=n; shift;; -S) mode=S; shift;; -p|-u) shift 2;; -H|-k|-E) shift;; *) break;; esac; done
folder=$(dirname "$0")
case " $(cat "$folder/asking") " in *" ${KP_HOST:-here} "*) ;; *) exec "$@";; esac
[ "$mode" = S ] || { echo "sudo: a password is required" >&2; exit 1; }
for _ in 1 2 3; do
    IFS= read -r typed || { echo "sudo: no password was provided" >&2; break; }
    echo "${KP_HOST:-here} $typed" >>"$folder/tried"
    [ "$typed" != "$(cat "$folder/password")" ] || exec "$@"
    echo "Sorry, try again." >&2
done
echo "sudo: 1 incorrect password attempt" >&2
exit 1
"""


@dataclass(frozen=True)
class Hosts:
    folder: Path

    def ask(self, *names: str) -> None:
        """Hosts whose sudo asks for PASSWORD; "here" is this machine without ssh."""
        (self.folder / "asking").write_text(" ".join(names))

    def tried(self) -> list[str]:
        """Host and what was taken for a password there, one after the other."""
        file = self.folder / "tried"
        return file.read_text().splitlines() if file.exists() else []


def made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Hosts:
    """Put the stand-ins before everything else in the PATH."""
    for name, text in (("ssh", SSH), ("sudo", SUDO)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (folder / "password").write_text(PASSWORD)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    hosts = Hosts(folder)
    hosts.ask()
    return hosts
