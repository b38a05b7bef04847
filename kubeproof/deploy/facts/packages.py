"""Facts about what is installed on a host: packages, images, and the configuration that services run with."""

import shlex
from dataclasses import dataclass

from pyinfra.api.facts import FactBase

from kubeproof.deploy.facts.questions import Lines


@dataclass(frozen=True)
class Package:
    version: str
    held: bool


class Installed(FactBase[dict[str, Package]]):
    """All completely installed packages by name (dpkg-query(1): Want, Status, Package, Version)."""

    def command(self) -> str:
        return "dpkg-query --show --showformat '${db:Status-Want} ${db:Status-Status} ${Package} ${Version}\\n'"

    default = dict

    def process(self, output: list[str]) -> dict[str, Package]:
        rows = [line.split() for line in output]
        return {
            row[2]: Package(version=row[3], held=row[0] == "hold")
            for row in rows
            if len(row) == 4 and row[1] == "installed"
        }


class Known(Lines):
    """Those of ``packages`` that dpkg knows in any state: also removed ones that left their configuration."""

    def command(self, packages: list[str]) -> str:
        names = " ".join(packages)
        return f"dpkg-query --show --showformat '${{Package}} ${{db:Status-Status}}\\n' {names} 2>/dev/null || true"

    def process(self, output: list[str]) -> list[str]:
        rows = [line.split() for line in output]
        return [row[0] for row in rows if len(row) == 2 and row[1] != "not-installed"]


class InstalledRpms(Installed):
    """All installed packages of rpm by name; their version is VERSION-RELEASE. None is held by rpm itself."""

    def command(self) -> str:
        return "rpm --query --all --queryformat 'install installed %{NAME} %{VERSION}-%{RELEASE}\\n'"


class KnownRpms(Known):
    def command(self, packages: list[str]) -> str:
        return f"rpm --query --queryformat '%{{NAME}} installed\\n' {' '.join(packages)} 2>/dev/null || true"


class MissingImages(Lines):
    """Those of ``images`` for which the shell command ``has_image`` fails; all of them where there is no runtime yet.

    The runtime is asked for each ("$image"), so that it decides which written forms of a reference mean the same.
    """

    def command(self, images: list[str], has_image: str) -> str:
        words = shlex.join(images)
        return f'for image in {words}; do {has_image} || echo "$image"; done'


class UnitState(Lines):
    """ActiveState and UnitFileState of a unit, as systemctl(1) shows them."""

    def command(self, unit: str) -> str:
        return f"systemctl show --property ActiveState --property UnitFileState {unit} 2>/dev/null || true"


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
