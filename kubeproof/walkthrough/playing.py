"""Plays the steps: applies their policy, makes their attempts, shows both, and takes away what it added."""

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

from rich.markup import escape

from kubeproof.access import programs, remote_kubectl, sudo
from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.network_conflicts import no_enforcement
from kubeproof.config.patience import patient
from kubeproof.networks.network import Source
from kubeproof.node import templates
from kubeproof.rules import api
from kubeproof.rules.api import ApiObjects, Pod
from kubeproof.terminal.console import console, say
from kubeproof.terminal.errors import EXIT_NOT_HOLDING, EXIT_OK, UserError
from kubeproof.walkthrough import attempting
from kubeproof.walkthrough.attempt import Attempt, Outcome, Result
from kubeproof.walkthrough.scenario import CLIENTS, ONE, PART_OF, Stage, Step, steps

LAST_STEP = 4
POLICY = "access-httpd"
SELECTOR = ",".join(f"{name}={value}" for name, value in PART_OF.items())
ADDED = "networkpolicies,pods,services,endpoints"
READY_SECONDS = 60
ROUTE_SECONDS = 10
"""For a host to say its route to a pod."""
COLOURS = {Outcome.OPEN: "green", Outcome.BLOCKED: "yellow", Outcome.FAILED: "red"}


def play(loaded: LoadedInventory, *, step: str = "", keep: bool = False) -> int:
    """Play all steps, or one; return the exit code: 0 only if every attempt came out as it has to.

    Raises UserError before anything is applied if the demo is off, the pod network enforces nothing, or another
    policy would interfere; CommandError if the cluster cannot be asked.
    """
    wanted = _number(step)
    _require_enforcement(loaded)
    _require_no_other_policy(loaded)
    with _clients(loaded, keep=keep) as stage:
        chosen = [item for item in steps(stage) if wanted in (None, item.number)]
        wrong = sum(_play(loaded, item) for item in chosen)
        if keep:
            say("kept: policy and clients are as in the last step; `./inv policy --step 0` takes them away")
    say("[green]every attempt came out as it has to[/green]" if not wrong else f"[red]{wrong} did not[/red]")
    return EXIT_NOT_HOLDING if wrong else EXIT_OK


def _number(step: str) -> int | None:
    if not step:
        return None
    if not (step.isdecimal() and int(step) <= LAST_STEP):
        raise UserError(f"step: there is no step {step!r}, use 0 to {LAST_STEP}")
    return int(step)


def _require_enforcement(loaded: LoadedInventory) -> None:
    settings, problems = loaded.cluster.settings, []
    if not settings.demo:
        problems.append("demo: is switched off by the setting demo, set it to True and run ./inv apply")
    if reason := no_enforcement(settings.cni, settings.network_policy):
        problems.append(reason)
    if problems:
        raise UserError(problems)


def _require_no_other_policy(loaded: LoadedInventory) -> None:
    words = ("get", "networkpolicies", "-n", "default", "-o", "json", "-l", SELECTOR.replace("=", "!="))
    names = [item["metadata"]["name"] for item in json.loads(_kubectl(loaded, *words))["items"]]
    if names:
        raise UserError(
            f"policies: the namespace default has {', '.join(names)}, which would change what is shown; delete with "
            f"{loaded.inv('kubectl')} -- delete networkpolicy {' '.join(names)}"
        )


@contextmanager
def _clients(loaded: LoadedInventory, *, keep: bool) -> Iterator[Stage]:
    """The stage with the walk-through's own objects on it, which go when it ends, however it ends."""
    objects = _objects(loaded)
    httpd, kuard = _servers(objects)
    try:
        text = templates.render(
            "policy-clients.yaml.j2",
            settings=loaded.cluster.settings,
            clients=CLIENTS,
            part_of=PART_OF,
            one=ONE,
            httpd=httpd.ip,
        )
        _kubectl(loaded, "apply", "-f", "-", stdin=text)
        pods = [f"pod/{name}" for name in CLIENTS]
        _kubectl(loaded, "wait", "--for=condition=Ready", f"--timeout={patient(READY_SECONDS)}s", *pods)
        yield _stage(loaded, _objects(loaded), httpd, kuard)
    finally:
        if not keep:
            _kubectl(loaded, "delete", ADDED, "-n", "default", "-l", SELECTOR, "--grace-period=0", "--force")
            say("taken away: the policy, the clients and their Service")


def _servers(objects: ApiObjects) -> tuple[Pod, Pod]:
    """A pod of httpd and one of kuard, on one host if there are such."""
    pages = objects.labelled("default", "name", "networkpolicy-demo")
    others = objects.labelled("default", "app", "kuard")
    if not pages or not others:
        raise UserError(
            "demo: no pod of httpd or of kuard is ready; look at `./inv kubectl -- get pods`, run ./inv apply"
        )
    together = [(page, other) for page in pages for other in others if page.node == other.node]
    return together[0] if together else (pages[0], others[0])


def _stage(loaded: LoadedInventory, objects: ApiObjects, httpd: Pod, kuard: Pod) -> Stage:
    cluster = loaded.cluster
    seen_as = cluster.settings.seen_as
    subnets = {node.name: seen_as(node.pod_cidr, node.annotations, node.internal_ip) for node in objects.nodes}
    lacking = [node.name for node in cluster.nodes if subnets.get(node.name) is None]
    one = objects.service(f"default/{ONE}")
    if lacking or one is None or one.ports[0].node_port is None or httpd.ip is None or kuard.ip is None:
        raise UserError(
            f"cluster: is not as deployed (no podCIDR or tunnel of {', '.join(lacking) or 'a node'}), run ./inv verify"
        )
    return Stage(
        httpd=httpd.ip,
        kuard=kuard.ip,
        home=httpd.node,
        kuard_home=kuard.node,
        addresses={node.name: node.address for node in cluster.nodes},
        subnets={name: cidr for name, cidr in subnets.items() if cidr is not None},
        node_network=cluster.settings.node_network,
        node_port=cluster.settings.httpd_node_port,
        page_port=one.ports[0].node_port,
        own_source=_own_source(loaded, kuard.node, kuard.ip),
    )


def _own_source(loaded: LoadedInventory, node: str, pod: IPv4Address) -> tuple[str, IPv4Address] | None:
    """What a pod sees its own host as; None where that is cni0's address.

    Where pods have no bridge it is one of the host's own, which its kernel chooses: it is asked which. If it does not
    say, the node's address is expected.
    """
    settings = loaded.cluster.settings
    if settings.network.source_of_node(settings.cni_backend, own_pod=True) is Source.BRIDGE:
        return None
    access = loaded.ssh[node]
    command = remote_kubectl.over_ssh(access, ["ip", "-4", "-o", "route", "get", str(pod)])
    given = sudo.given_as_input(access.sudo_password)
    try:
        done = programs.run(command, given=given, seconds=ROUTE_SECONDS)
        found = re.search(r" src (\d+\.\d+\.\d+\.\d+)", done.stdout)
    except subprocess.TimeoutExpired:
        found = None
    return "its host's", IPv4Address(found[1]) if found else loaded.cluster.node(node).address


def _play(loaded: LoadedInventory, step: Step) -> int:
    """Play one step; return how many attempts came out wrong."""
    console.rule(f"[bold]Step {step.number}: {escape(step.title)}", align="left")
    console.print(escape(step.why))
    if step.blocks is None:
        console.print("policy: none\n")
        _kubectl(loaded, "delete", "networkpolicy", POLICY, "-n", "default", "--ignore-not-found")
    else:
        text = templates.render("access-httpd.yaml.j2", part_of=PART_OF, blocks=step.blocks)
        console.print(f"[cyan]{escape(_without_comment(text))}[/cyan]")
        _kubectl(loaded, "apply", "-f", "-", stdin=text)
    results = attempting.make(loaded, step.attempts)
    for attempt, result, _ in results:
        _show(loaded, attempt, result)
    slowest = max(took for _, _, took in results)
    say(f"step {step.number}: all of it came out within {slowest:.1f}s\n")
    return sum(not attempt.fits(result) for attempt, result, _ in results)


def _show(loaded: LoadedInventory, attempt: Attempt, result: Result) -> None:
    mark = "[green]✓[/green]" if attempt.fits(result) else "[red]✗[/red]"
    colour = COLOURS[result.outcome]
    console.print(f"{mark} {escape(attempt.who)}: [{colour}]{result.outcome.value}[/{colour}]")
    console.print(f"    [dim]$ {escape(attempt.way.line(loaded))}[/dim]")
    console.print(f"    [dim]{escape(result.found)}[/dim]")
    if not attempt.fits(result):
        also = f" with {attempt.answer}" if attempt.answer else ""
        console.print(f"    [red]expected: {attempt.outcome.value}{escape(also)}[/red]")


def _without_comment(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#")) + "\n"


def _objects(loaded: LoadedInventory) -> ApiObjects:
    text = _kubectl(loaded, "get", "nodes,pods,services,endpoints", "-A", "-o", "json")
    return api.parse_objects(text)


def _kubectl(loaded: LoadedInventory, *words: str, stdin: str = "") -> str:
    return remote_kubectl.capture(loaded, words, stdin=stdin)
