"""Asks hosts whether they reach the places that they fetch from, as they would reach them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pyinfra.api.host import Host

from kubeproof.config.cluster import Cluster
from kubeproof.config.patience import patient
from kubeproof.deploy.operations.remote import try_run
from kubeproof.node import proxies
from kubeproof.rules.before_deploy.inspection import Asked
from kubeproof.rules.before_deploy.sources import ANSWER_SECONDS, Source

SCRIPT = Path(__file__).with_name("sources.sh").read_text()


def ask(host: Host, cluster: Cluster, places: Sequence[Source], *, archives: bool) -> tuple[Asked, ...]:
    """What each place answers; ``archives`` are those of apt. A place that gets no answer is told with the reason."""
    done, output = try_run(host, command(places, archives=archives), stdin=stdin(cluster))
    return answers(output.splitlines()) if done else ()


def command(places: Iterable[Source], *, archives: bool) -> list[str]:
    """Words of a command that asks all of them at once. Pure."""
    words = [word for item in places for word in (item.kind, "proxied" if item.proxied else "direct", item.url)]
    return ["sh", "-c", SCRIPT, "sh", str(patient(ANSWER_SECONDS)), "archives" if archives else "", *words]


def stdin(cluster: Cluster) -> str:
    """The proxies, and names that are reached without. Pure."""
    settings = cluster.settings
    if not proxies.is_used(settings):
        return "\n"
    lines = {
        "http": settings.http_proxy,
        "https": settings.https_proxy,
        "except": ",".join(proxies.exceptions(cluster)),
    }
    return "".join(f"{name} {value}\n" for name, value in lines.items())


def answers(lines: Iterable[str]) -> tuple[Asked, ...]:
    """Reads what the script prints: kind, URL and answer in each line. Pure."""
    rows = [line.split(maxsplit=2) for line in lines]
    return tuple(Asked(source=row[1], kind=row[0], answer=row[2].strip()) for row in rows if len(row) == 3)
