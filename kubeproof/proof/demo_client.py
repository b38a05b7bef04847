"""Asks the demo application on every node, as somebody outside of the cluster does."""

import re
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from rich.markup import escape

from kubeproof.config.cluster import Cluster
from kubeproof.config.patience import patient
from kubeproof.proof.probes import node_port_url
from kubeproof.terminal.console import say
from kubeproof.terminal.errors import EXIT_NOT_HOLDING, EXIT_OK, UserError

ANSWER_SECONDS = 5
"""A node answers in milliseconds; what takes longer is dropped on its way."""


def show(cluster: Cluster, fetch: "Callable[[str], str] | None" = None) -> int:
    """Print each node's answer at the NodePort; the exit code is 0 only if all of them answer."""
    if not cluster.settings.demo:
        raise UserError("demo: is switched off by the setting demo, set it to True and run ./inv apply")
    port = cluster.settings.httpd_node_port
    codes = [_ask(node.name, node_port_url(node, port), fetch or _fetch) for node in cluster.nodes]
    if all(code == EXIT_OK for code in codes):
        say("httpd runs 3 times; whichever node is asked, one of the three answers (NodePort, then Service httpd-svc)")
        say("next: ./inv kubectl -- get pods,services -o wide")
    return max(codes)


def _ask(node: str, url: str, fetch: Callable[[str], str]) -> int:
    try:
        page = fetch(url)
    except (URLError, OSError) as error:
        reason = escape(str(getattr(error, "reason", error)))
        say(f"{node}: [red]no answer[/red] at {url} ({reason}), look further: ./inv verify")
        return EXIT_NOT_HOLDING
    say(f"{node}: [green]answers[/green] at {url}: {escape(summary(page))}")
    return EXIT_OK


def summary(page: str, longest: int = 100) -> str:
    """The first ``longest`` characters of an HTML page, without its head and its tags."""
    body = re.sub(r"(?is)<head\b.*?</head>|<[^>]*>", " ", page)
    return " ".join(body.split())[:longest]


def _fetch(url: str) -> str:
    # Not by the environment's proxy: it does not know the nodes' addresses, and they are none of its business.
    with build_opener(ProxyHandler({})).open(url, timeout=patient(ANSWER_SECONDS)) as answer:
        return str(answer.read().decode(errors="replace"))
