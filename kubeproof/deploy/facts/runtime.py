"""Facts about the container runtime on a host."""

import shlex

from pyinfra.api.facts import FactBase

from kubeproof.deploy.facts.lines import Lines


class MissingImages(Lines):
    """Those of ``images`` for which the shell command ``has_image`` fails; all of them where there is no runtime yet.

    The runtime is asked for each ("$image"), so that it decides which written forms of a reference mean the same.
    """

    def command(self, images: list[str], has_image: str) -> str:
        words = shlex.join(images)
        return f'for image in {words}; do {has_image} || echo "$image"; done'


class RunsOldConfig(FactBase[bool]):
    """Whether a service runs since before one of its files was last written.

    Asking the host instead of remembering what changed makes up for a deploy that was interrupted in between.
    """

    def command(self, service: str, files: list[str]) -> str:
        return (
            f"since=$(systemctl show --property ActiveEnterTimestamp --value {service} 2>/dev/null); "
            f"written=$(stat -c %Y {shlex.join(files)} 2>/dev/null | sort -n | tail -n 1); "
            '[ -n "$since" ] && [ -n "$written" ] && [ "$written" -gt "$(date -d "$since" +%s)" ] && echo old; true'
        )

    default = bool

    def process(self, output: list[str]) -> bool:
        return "old" in output


class KubeadmImages(Lines):
    """The images that kubeadm says it would use, by its own command; empty where there is no kubeadm yet."""

    def command(self, asked: list[str]) -> str:
        return f"if command -v kubeadm >/dev/null; then {shlex.join(asked)} 2>/dev/null || true; fi"

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if ":" in line]
