"""How containers of pods are read and entered, by the container runtime: shell text, and readers of it. Pure."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from kubeproof.state.collector import CTR, shell
from kubeproof.state.errors import ParseError
from kubeproof.state.iproute import parse_addresses, parse_links, parse_neighbours, parse_routes
from kubeproof.state.jsontext import Item, read
from kubeproof.state.model import Namespace
from kubeproof.state.node import Container

LABELS = {
    "name": "io.kubernetes.container.name",
    "pod": "io.kubernetes.pod.name",
    "namespace": "io.kubernetes.pod.namespace",
    "uid": "io.kubernetes.pod.uid",
}
"""What kubelet labels containers with (pkg/kubelet/types/labels.go), whatever the runtime."""


@dataclass(frozen=True)
class About:
    """What a runtime tells of a container.

    ``network_mode`` is in Docker's words: "none" for a pause with a namespace of its own, "host" for one without, and
    "container:ID" for a container in the pause's.
    """

    id: str
    pid: int
    labels: dict[str, str]
    """Values by the short names of :data:`LABELS`."""
    is_sandbox: bool
    network_mode: str


@dataclass(frozen=True)
class Tool:
    """The client of one runtime.

    ``script`` is shell text that prints a line of JSON for each running container of a pod: ``netns``, what the
    runtime tells (``about``), and for a pause with a network namespace of its own what is in that (``network``).
    ``paused`` prints id, name and pod of each container that is held still, ``driver`` its cgroup driver.
    """

    name: str
    script: str = field(repr=False)
    paused: str = field(repr=False)
    driver: str = field(repr=False)
    read: Callable[[Item], About] = field(repr=False)
    exec: str
    look_at_pods: str
    look_at_namespaces: str

    def inside(self, container: str, text: str) -> str:
        """Shell text: shell text of its own, inside a container."""
        return f"{self.exec} {container} sh -c {shlex.quote(text)}"

    @property
    def called(self) -> str:
        return " ".join(word for word in self.exec.split() if "-" not in word and "." not in word)


# Docker ---------------------------------------------------------------------------------------------------------------

_DOCKER_FORMAT = (
    "{{.State.Pid}} {{.HostConfig.NetworkMode}} "
    '{{index .Config.Labels "io.kubernetes.docker.type"}} '
    '{"id":{{json .Id}},"network_mode":{{json .HostConfig.NetworkMode}},"pid":{{.State.Pid}},"labels":{'
    + ",".join(
        f'"{short}":{{{{json (index .Config.Labels "{label}")}}}}'
        for short, label in {"type": "io.kubernetes.docker.type", **LABELS}.items()
    )
    + "}}"
)
"""The label of the type is dockershim's and cri-dockerd's (dockershim/docker_service.go)."""


def _docker(about: Item) -> About:
    labels = about.item("labels")
    return About(
        id=about.text("id"),
        pid=about.number("pid"),
        labels={short: labels.text(short) for short in LABELS},
        is_sandbox=labels.text("type") == "podsandbox",
        network_mode=about.text("network_mode"),
    )


DOCKER = Tool(
    name="docker",
    script=shell("enter") + "\n" + shell("docker", FORMAT=_DOCKER_FORMAT),
    paused='docker ps --filter status=paused --format \'{{.ID}} {{.Label "io.kubernetes.container.name"}} '
    '{{.Label "io.kubernetes.pod.namespace"}}/{{.Label "io.kubernetes.pod.name"}}\'',
    # dockershim and cri-dockerd take Docker's.
    driver="docker info --format '{{.CgroupDriver}}'",
    read=_docker,
    exec="docker exec",
    look_at_pods=(
        "for id in $(docker ps -q --filter label=io.kubernetes.docker.type=podsandbox); do "
        "docker inspect -f '{{.Name}} {{.HostConfig.NetworkMode}}' $id; "
        "nsenter -t $(docker inspect -f '{{.State.Pid}}' $id) -n sh -c 'ip -4 addr show; ip -4 route'; done"
    ),
    look_at_namespaces="docker inspect -f '{{.Name}} {{.HostConfig.NetworkMode}}' $(docker ps -q)",
)

# containerd -----------------------------------------------------------------------------------------------------------

_KIND = "io.cri-containerd.kind"
_SANDBOX_ID = "io.kubernetes.cri.sandbox-id"
"""Label and annotation of containerd's CRI plugin (pkg/cri/server/helpers.go, pkg/cri/annotations)."""


def _containerd(about: Item) -> About:
    info = about.item("info")
    labels = info.item("Labels")
    spec = info.item("Spec")
    is_sandbox = labels.text(_KIND) == "sandbox"
    if is_sandbox:
        kinds = [namespace.text("type") for namespace in spec.item("linux").items("namespaces")]
        mode = "none" if "network" in kinds else "host"
    else:
        mode = f"container:{spec.item('annotations').text(_SANDBOX_ID)}"
    given = {short: labels.text(label) for short, label in LABELS.items() if label in labels}
    missing = {} if not is_sandbox else {"name": "POD"}
    return About(info.text("ID"), about.number("pid"), {**missing, **given}, is_sandbox, mode)


CONTAINERD = Tool(
    name="containerd",
    script=shell("enter") + "\n" + shell("containerd", CTR=CTR, KIND=_KIND),
    # containerd does not name container and pod in the same line.
    paused=f'{CTR} tasks list | awk \'$3 == "PAUSED" {{ print $1, "container", "of-containerd" }}\'',
    driver=shell("containerd_driver"),
    read=_containerd,
    # Each entry has an id of its own; $$ is of the shell that runs this command.
    exec=f"{CTR} tasks exec --exec-id kubeproof-$$",
    look_at_pods=(
        f'{CTR} tasks list | while read -r id pid status; do [ "$status" = RUNNING ] && echo && echo $id && '
        "nsenter -t $pid -n sh -c 'ip -4 addr show; ip -4 route'; done"
    ),
    look_at_namespaces=(
        f'{CTR} tasks list | while read -r id pid status; do [ "$status" = RUNNING ] && '
        "echo $id $(readlink /proc/$pid/ns/net); done"
    ),
)

TOOLS = {tool.name: tool for tool in (DOCKER, CONTAINERD)}
"""By the setting container_runtime."""


def parse_containers(text: str, tool: Tool, odd: list[str] | None = None) -> tuple[Container, ...]:
    """Containers from the lines of JSON that the tool's script prints; a line that cannot be read goes to ``odd``.

    Raises ParseError where there are only such lines, or for the first one without ``odd``.
    """
    found: list[Container] = []
    errors: list[ParseError] = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            if line.strip():
                found.append(_container(Item(tool.name, f"line {number}", read(tool.name, line)), tool, odd))
        except ParseError as error:
            errors.append(error)
    if errors and (odd is None or not found):
        raise errors[0]
    if odd is not None:
        odd += map(str, errors)
    return tuple(found)


def _container(item: Item, tool: Tool, odd: list[str] | None) -> Container:
    about = tool.read(item.item("about"))
    return Container(
        id=about.id,
        pod_namespace=about.labels["namespace"],
        pod_name=about.labels["pod"],
        pod_uid=about.labels["uid"],
        name=about.labels["name"],
        is_sandbox=about.is_sandbox,
        network_mode=about.network_mode,
        pid=about.pid,
        netns=item.text("netns"),
        network=_namespace(item, odd) if "network" in item else None,
    )


def _namespace(item: Item, odd: list[str] | None) -> Namespace:
    network = item.item("network")
    return Namespace(
        links=parse_links(network.json("links"), odd),
        addresses=parse_addresses(network.json("addresses"), odd),
        routes=parse_routes(network.json("routes"), odd),
        neighbours=parse_neighbours(network.json("neighbours"), odd),
    )
