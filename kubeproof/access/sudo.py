"""Hosts whose sudo asks for a password: who is asked for it, how it is tried, and how it is given.

sudo reads it from standard input, before what the command itself reads there. So it is in no command line, environment
or file of any machine, and it goes to nobody but sudo: a sudo that needs none leaves it where it is, and then what runs
as root reads up to a marker first, and forgets it.
"""

import getpass
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from kubeproof.access import programs
from kubeproof.config.cluster import LoadedInventory, SshAccess
from kubeproof.config.patience import patient
from kubeproof.terminal.errors import UserError

BY_STDIN = "-k -S -p ''"
"""Options of sudo in place of -n. With -k it asks each time, also where it would remember that it has asked."""
PROBE = "LC_ALL=C sudo -H {} sh -c : 2>&1; echo exit $?"
"""What is run on a host to try sudo, with its options. Its own exit code is 0: pyinfra asks by itself otherwise."""
ASKS = ("a password is required", "interactive authentication is required", "a terminal is required")
"""Words of sudo and sudo-rs that must not ask."""
CONNECT_SECONDS = 5
TRY_SECONDS = 30
"""A password that is wrong is answered late (pam_unix(8): about two seconds), and directories may be slow."""
AT_ONCE = 16
NAMES_SHOWN = 4
MISSING = (
    "sudo asks for a password, and none was typed; run this on a terminal, set _sudo_password for the host, or let its "
    "user run sudo without (NOPASSWD in /etc/sudoers.d/)"
)
_typed: list[str] = []
_MARK = "kubeproof: standard input begins"
DRAIN = f'while IFS= read -r line && [ "$line" != "{_MARK}" ]; do :; done; unset line'
"""Shell text that comes first in what sudo runs."""

Try = Callable[[str, str], str]
"""Runs PROBE on a host and returns what it printed, with a password as input; "" is none, and must not be asked for."""


def given_as_input(password: str) -> str:
    """What comes before a command's own input."""
    return f"{password}\n{_MARK}\n" if password else ""


def as_root(access: SshAccess, words: Sequence[str]) -> list[str]:
    """The command that runs words as root; its input begins with `given_as_input` of the host's password."""
    if not access.sudo_password:
        return [*(["sudo"] if access.sudo else []), *words]
    return ["sudo", "-k", "-S", "-p", "", "sh", "-c", f'{DRAIN}; exec "$@"', "sh", *words]


def ready(loaded: LoadedInventory, names: Iterable[str] = ()) -> LoadedInventory:
    """The inventory with the passwords of all hosts that need one, or of those that are named.

    Each has been tried, once. Raises UserError with a line for each host whose password is missing or refused. Hosts
    that cannot be reached are left for what needs them.
    """
    hosts = [name for name in names or loaded.ssh if loaded.ssh[name].sudo]
    known = {name: loaded.ssh[name].sudo_password for name in hosts}
    found = passwords(known, lambda name, password: _try(loaded.ssh[name], password), typed)
    changed = {name: replace(loaded.ssh[name], sudo_password=password) for name, password in found.items()}
    return replace(loaded, ssh={**loaded.ssh, **changed})


def asks(access: SshAccess) -> bool:
    """Whether sudo on a host asks for a password; one that cannot be reached does not."""
    return access.sudo and _asks(_try(access, ""))


def passwords(known: Mapping[str, str], attempt: Try, ask: Callable[[Sequence[str]], str]) -> dict[str, str]:
    """The password of each host that needs one, tried there. ``known`` is by host; "" is to be found out.

    Raises UserError with a line for each host where it is missing or refused.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        silent = [name for name, password in known.items() if not password]
        answers = pool.map(lambda name: attempt(name, ""), silent)
        asking = [name for name, answer in zip(silent, answers, strict=True) if _asks(answer)]
        found = {name: password for name, password in known.items() if password}
        found |= dict.fromkeys(asking, ask(asking) if asking else "")
        if missing := [name for name, password in found.items() if not password]:
            raise UserError(f"{name}: {MISSING}" for name in missing)
        for password in dict.fromkeys(found.values()):
            _require([name for name, own in found.items() if own == password], password, attempt, pool)
    return found


def _require(names: Sequence[str], password: str, attempt: Try, pool: ThreadPoolExecutor) -> None:
    """Try a password on one host before the others, as a directory may lock a user out after three failures."""
    rest = iter(names)
    for first in rest:
        answer = attempt(first, password)
        if refusal := _refusal(answer):
            raise UserError(_refused(first, refusal))
        if answer:
            break
    others = list(rest)
    refusals = pool.map(lambda name: _refusal(attempt(name, password)), others)
    if problems := [_refused(name, why) for name, why in zip(others, refusals, strict=True) if why]:
        raise UserError(problems)


def typed(names: Sequence[str]) -> str:
    """What is typed on the terminal, once for the process; "" if there is no terminal, or nothing was typed."""
    shown = ", ".join(names[:NAMES_SHOWN]) + (f" and {len(names) - NAMES_SHOWN} more" if names[NAMES_SHOWN:] else "")
    if not _typed:
        _typed.append(_from_terminal(f"sudo password for {shown}: "))
    return _typed[0]


def _from_terminal(prompt: str) -> str:
    try:
        # getpass would read standard input instead, and show what is typed.
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
        return getpass.getpass(prompt)
    except (OSError, EOFError):
        return ""


def _try(access: SshAccess, password: str) -> str:
    *ssh, hostname = access.command()
    words = [*ssh, "-o", f"ConnectTimeout={patient(CONNECT_SECONDS):g}", hostname, probe(password)]
    try:
        return programs.run(words, given=password and f"{password}\n", seconds=patient(TRY_SECONDS)).stdout
    except subprocess.TimeoutExpired:
        return ""


def probe(password: str) -> str:
    """Shell text that tries sudo; its input is the password alone, so that sudo finds no second one to try."""
    return PROBE.format(BY_STDIN if password else "-k -n")


def _refusal(answer: str) -> str:
    """Why sudo ran nothing, in its own words; empty if it did, or if there is no whole answer."""
    *said, end = answer.strip().splitlines() or [""]
    if not end.startswith("exit ") or end == "exit 0":
        return ""
    return next((line.removeprefix("sudo: ").strip() for line in reversed(said) if line.strip()), end)


def _asks(answer: str) -> bool:
    return bool(_refusal(answer)) and any(words in answer for words in ASKS)


def _refused(name: str, refusal: str) -> str:
    return f"{name}: sudo refuses the password ({refusal}), nothing was done; correct it, or set _sudo_password there"
