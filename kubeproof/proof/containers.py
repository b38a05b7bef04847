"""How the proof reads and enters containers of pods, by the container runtime: shell text, and readers of it. Pure."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field

from kubeproof.config.tables.runtimes import CTR
from kubeproof.state.jsontext import Item

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
    runtime tells (``about``), and for a pause with a network namespace of its own what ``{ENTER}`` prints there.
    """

    name: str
    script: str = field(repr=False)
    read: Callable[[Item], About] = field(repr=False)
    exec: str
    look_at_pods: str
    look_at_namespaces: str

    def inside(self, container: str, text: str) -> str:
        """Shell text: shell text of its own, inside a container."""
        return f"{self.exec} {container} sh -c {shlex.quote(text)}"

    @property
    def called(self) -> str:
        """What enters a container, for messages."""
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

_DOCKER_SCRIPT = f"""
ids=$(docker ps -q --no-trunc --filter label=io.kubernetes.pod.uid) || exit 1
[ -n "$ids" ] || exit 0
list=$(docker inspect --format '{_DOCKER_FORMAT}' $ids) || [ -n "$list" ] || exit 1
ended() {{ [ ! -e "/proc/$pid" ]; }}
printf '%s\n' "$list" | while read -r pid mode type about; do
  netns=$(readlink "/proc/$pid/ns/net") || {{ ended && continue; exit 1; }}
  more=
  case "$type $mode" in
    "podsandbox host") ;;
    podsandbox*) more=$(@ENTER@) || {{ ended && continue; exit 1; }} ;;
  esac
  printf '{{"netns":"%s","about":%s%s}}\\n' "$netns" "$about" "$more"
done
"""


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
    script=_DOCKER_SCRIPT,
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

_CONTAINERD_SCRIPT = f"""
list=$({CTR} tasks list) || exit 1
host=$(readlink /proc/self/ns/net) || exit 1
ended() {{ [ ! -e "/proc/$pid" ]; }}
printf '%s\n' "$list" | while read -r id pid status; do
  [ "$status" = RUNNING ] || continue
  info=$({CTR} containers info "$id") || {{ ended && continue; exit 1; }}
  netns=$(readlink "/proc/$pid/ns/net") || {{ ended && continue; exit 1; }}
  more=
  case "$info" in
    *'"{_KIND}": "sandbox"'*) [ "$netns" = "$host" ] || more=$(@ENTER@) || {{ ended && continue; exit 1; }} ;;
  esac
  printf '{{"netns":"%s","about":{{"pid":%s,"info":%s}}%s}}\\n' \
    "$netns" "$pid" "$(printf '%s' "$info" | tr -d '\\n')" "$more"
done
"""


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
    script=_CONTAINERD_SCRIPT,
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
