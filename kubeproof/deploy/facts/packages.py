"""Facts about Debian packages on a host."""

from dataclasses import dataclass

from pyinfra.api.facts import FactBase

from kubeproof.deploy.facts.lines import Lines


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
