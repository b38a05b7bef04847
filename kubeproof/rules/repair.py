"""Shell text that remedies of several rules share. Pure."""

import shlex
from collections.abc import Callable, Iterable, Iterator

from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.result import Outcome
from kubeproof.rules.rule import KUBECTL
from kubeproof.state.collector import CTR
from kubeproof.state.iptables import Rule
from kubeproof.state.model import Route


def restart_agent(context: Context, _: Outcome) -> Iterator[str]:
    """Whatever is missing of what the pod network's agent sets, the agent sets when it starts."""
    yield agent_restart(context)


def agent_restart(context: Context) -> str:
    """End the container that sets routes and devices; kubelet starts it again, and it sets all anew.

    Deleting the pod takes ten times as long, and a process that goes on does not look again at what it has set.
    """
    return kill_containers(context, context.cluster.settings.network.agent.container)


def restart_of(name: str) -> Callable[[Context, Outcome], Iterator[str]]:
    """A remedy: end the containers of a name, which set what is theirs anew when kubelet has started them again."""

    def remedy(context: Context, _: Outcome) -> Iterator[str]:
        yield kill_containers(context, name)

    return remedy


def kill_containers(context: Context, name: str) -> str:
    """Kill the running containers of a name; none may run by then, as kubelet ends what does not answer, too."""
    label = f"io.kubernetes.container.name={name}"
    if context.cluster.settings.container_runtime == "docker":
        return f"docker ps -q --filter label={label} | xargs --no-run-if-empty docker kill"
    listed = f"{CTR} containers list -q {shlex.quote(f'labels.{chr(34)}io.kubernetes.container.name{chr(34)}=={name}')}"
    return f"for id in $({listed}); do {CTR} tasks kill --signal SIGKILL $id 2>/dev/null; done; true"


def unit(name: str, verb: str) -> str:
    """Start or restart a unit of systemd, also one that was masked or has given up."""
    unmask = f"systemctl unmask {name} 2>/dev/null; systemctl unmask --runtime {name} 2>/dev/null"
    return f"{unmask}; systemctl reset-failed {name} 2>/dev/null; systemctl {verb} {name}"


def pods_anew(pods: Iterable[str]) -> Iterator[str]:
    """Delete pods (namespace/name), so that their controllers make them anew."""
    for pod in pods:
        space, _, name = pod.partition("/")
        yield f"{KUBECTL} -n {space} delete pod {name} --wait=false --ignore-not-found"


def command_for(rule: Rule, option: str, table: str = "filter") -> str:
    """Delete a rule of iptables (-D) or insert it first (-I). Raises UndecidedError where that is not possible."""
    try:
        return rule.command(option, table)
    except ValueError as error:
        raise UndecidedError(str(error)) from None


def deletion(table: str, rule: Rule) -> str:
    """Delete a rule of iptables. Raises UndecidedError where that is not possible."""
    return command_for(rule, "-D", table)


def route_deletion(route: Route) -> str:
    table = "" if route.table == "main" else f" table {route.table}"
    return f"ip route del {str(route).replace(' onlink', '')}{table}"
