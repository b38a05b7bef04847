"""Facts about files."""

import shlex

from pyinfra.api.facts import FactBase

from kubeproof.deploy.facts.questions import Lines

HOST_PATH_KINDS = {"Directory": "d", "File": "f", "Socket": "S", "CharDevice": "c", "BlockDevice": "b"}
"""Types of a hostPath that have to be there (Kubernetes API, HostPathType), with the option of test(1) for each."""


class Text(FactBase[str]):
    """The text of a file, each line ended by a newline; empty if there is no such file."""

    def command(self, path: str) -> str:
        return f"cat {shlex.quote(path)} 2>/dev/null || true"

    default = str

    def process(self, output: list[str]) -> str:
        return "".join(f"{line}\n" for line in output)


class ModeAndDigest(Lines):
    """Octal mode and SHA-256 of a regular file; empty for everything else.

    One question, where pyinfra's own operation asks three before it finds that a file is as it should be.
    """

    def command(self, path: str) -> str:
        file = shlex.quote(path)
        return f"[ ! -f {file} ] || [ -L {file} ] || {{ stat -c %a {file}; sha256sum <{file} | cut -d ' ' -f 1; }}"


class Existing(Lines):
    """Those of ``candidates`` that exist, links that lead nowhere included."""

    def command(self, candidates: list[str]) -> str:
        words = shlex.join(candidates)
        return f'for path in {words}; do if [ -e "$path" ] || [ -L "$path" ]; then echo "$path"; fi; done'


class NotEmpty(Lines):
    def command(self, directories: list[str]) -> str:
        words = shlex.join(directories)
        return f'for path in {words}; do if [ -d "$path" ] && [ -n "$(ls -A "$path")" ]; then echo "$path"; fi; done'


class Kinds(FactBase[dict[str, str]]):
    """What each of ``candidates`` is, links followed, by path: a word of :data:`HOST_PATH_KINDS`, or "other"."""

    def command(self, candidates: list[str]) -> str:
        kinds = "; ".join(f'[ -{flag} "$path" ] && kind={kind}' for kind, flag in HOST_PATH_KINDS.items())
        tell = f'if [ -e "$path" ]; then kind=other; {kinds}; echo "$kind $path"; fi'
        return f"for path in {shlex.join(candidates)}; do {tell}; done; true"

    default = dict

    def process(self, output: list[str]) -> dict[str, str]:
        pairs = (line.partition(" ") for line in output if line.strip())
        return {path: kind for kind, _, path in pairs}
