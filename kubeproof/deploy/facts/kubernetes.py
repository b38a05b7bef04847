"""Facts about Kubernetes on a host and, from the control plane host, about the cluster."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from kubeproof.config.patience import patient
from kubeproof.config.tables import paths
from kubeproof.config.tables.runtimes import ALL_LIST_PODS
from kubeproof.deploy.facts.questions import Answers, Lines, Questions
from kubeproof.networks.registry import NETWORKS
from kubeproof.node.changed_settings import DEFAULT, InUse
from kubeproof.node.kubeconfigs import OUTLINE, Kubeconfig, read

KUBECTL = f"kubectl --kubeconfig {paths.ADMIN_CONF}"
REQUEST_SECONDS = 10
MANIFESTS = {name: network.manifest for name, network in NETWORKS.items() if network.manifest is not None}


@dataclass(frozen=True)
class ControlPlane:
    """How far `kubeadm init` came on a host."""

    configured: bool = False
    """There is an admin.conf: kubeadm has made certificates and kubeconfig files."""
    interrupted: bool = False
    """The deploy began an init here and did not see its end."""
    healthy: bool = False
    """The API server answers that it is well."""
    finished: bool = False
    """What kubeadm's last phases make is there: cluster-info (bootstrap-token) and kube-proxy (addon)."""


class ControlPlaneState(Questions[ControlPlane]):
    def questions(self) -> dict[str, str]:
        ask = f"{KUBECTL} --request-timeout {patient(REQUEST_SECONDS)}s"
        return {
            "configured": f"ls {paths.ADMIN_CONF}",
            "interrupted": f"ls {paths.INIT_MARKER}",
            "healthy": f"test -e {paths.ADMIN_CONF} && {ask} get --raw /healthz && echo",
            "finished": f"test -e {paths.ADMIN_CONF} && {ask} get -n kube-public configmap/cluster-info -o name"
            f" && {ask} get -n kube-system daemonset/kube-proxy -o name",
        }

    def read(self, found: Answers) -> ControlPlane:
        return ControlPlane(
            configured=bool(found["configured"]),
            interrupted=bool(found["interrupted"]),
            healthy=found["healthy"] == ["ok"],
            finished=len(found["finished"]) == 2,
        )


@dataclass(frozen=True)
class Membership:
    """How far `kubeadm join` came on a host."""

    joined: bool = False
    """kubelet has a certificate of the cluster."""
    interrupted: bool = False
    """The deploy began a join here and did not see its end."""
    ca_hash: str = ""
    """SHA-256 of the certificate of the cluster's CA, as a file."""


class MembershipState(Questions[Membership]):
    def questions(self) -> dict[str, str]:
        return {
            "joined": f"ls {paths.KUBELET_CONF}",
            "interrupted": f"ls {paths.JOIN_MARKER}",
            "ca": f"sha256sum {paths.CA_CERTIFICATE} | cut -d ' ' -f 1",
        }

    def read(self, found: Answers) -> Membership:
        return Membership(
            joined=bool(found["joined"]), interrupted=bool(found["interrupted"]), ca_hash=_only(found, "ca")
        )


class KubeconfigOf(FactBase[Kubeconfig | None]):
    """Whose the kubeconfig at ``path`` is, or None if there is no such file. Its credentials stay on the host."""

    def command(self, path: str) -> str:
        file = shlex.quote(path)
        return f"if [ -e {file} ]; then echo there; grep -E {shlex.quote(OUTLINE)} {file} || true; fi"

    def process(self, output: list[str]) -> Kubeconfig | None:
        return read(output[1:]) if output else None


class ApiHealthy(FactBase[bool]):
    """Whether the API server at ``url`` can be reached from this host and is well.

    Anyone may ask (the ClusterRole system:public-info-viewer), and the answer is trusted with nothing, so the server's
    certificate is not checked. (kubectl would ask for a user name before it asks the server.)
    """

    def command(self, url: str) -> str:
        return f"curl --silent --insecure --noproxy '*' --max-time 5 {shlex.quote(url)}/healthz || true"

    default = bool

    def process(self, output: list[str]) -> bool:
        return "ok" in output


class LiveObjects(FactBase[list[dict[str, Any]]]):
    """Those of the objects in the file ``path`` that the cluster has, as its API gives them; empty if it does not."""

    def command(self, path: str) -> str:
        ask = f"{KUBECTL} --request-timeout {REQUEST_SECONDS}s get --ignore-not-found --output json"
        return f"{ask} --filename {shlex.quote(path)} 2>/dev/null || true"

    default = list

    def process(self, output: list[str]) -> list[dict[str, Any]]:
        try:
            document: dict[str, Any] = json.loads("\n".join(output) or "{}")
        except ValueError:
            return []
        found: list[dict[str, Any]] = document.get("items", [document] if document.get("metadata") else [])
        return found


class ManifestDifference(FactBase[list[str]]):
    """What applying the objects in the file ``path`` would change in the cluster, as lines that go (``-``) and come
    (``+``); empty if that is nothing.

    There is a line too where the file, kubectl or the cluster does not exist yet: kubectl diff exits with 0 only if
    nothing differs.
    """

    def command(self, path: str) -> str:
        return f"found=$({KUBECTL} diff --filename {shlex.quote(path)} 2>&1) || printf 'differs\\n%s\\n' \"$found\""

    default = list

    def process(self, output: list[str]) -> list[str]:
        if not output:
            return []
        changed = [line for line in output[1:] if line.startswith(("+", "-")) and not line.startswith(("+++", "---"))]
        # Of its own: a number that the API server raises with each change.
        told = [line for line in changed if not line[1:].strip().startswith("generation:")]
        return told or output[-1:]


class Objects(FactBase[list[dict[str, Any]]]):
    """Nodes, DaemonSets, Deployments and Pods of all namespaces, as the API gives them; empty if it does not answer."""

    def command(self) -> str:
        kinds = "nodes,daemonsets.apps,deployments.apps,pods"
        return f"{KUBECTL} --request-timeout {patient(REQUEST_SECONDS)}s get {kinds} -A -o json 2>/dev/null || true"

    default = list

    def process(self, output: list[str]) -> list[dict[str, Any]]:
        try:
            items: list[dict[str, Any]] = json.loads("\n".join(output))["items"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FactProcessError(f"not a list of objects: {error}") from error
        return items


LIST_PODS = "; ".join(f"{{ {command}; }} 2>/dev/null" for command in ALL_LIST_PODS)


class Remains(Lines):
    """What is there of a cluster on this host, begun or finished: files of kubeadm and kubelet, containers of pods."""

    def command(self) -> str:
        files = " ".join((*paths.REMAINS, paths.INIT_MARKER, paths.JOIN_MARKER))
        return f"ls -d {files} 2>/dev/null; ls -A /etc/kubernetes/manifests 2>/dev/null; {LIST_PODS}; true"


class SettingsInUse(Questions[InUse]):
    """Reads :class:`InUse`, from kubeadm's and kubelet's files so that a control plane that is down tells it too."""

    def questions(self) -> dict[str, str]:
        manifests = f"{paths.KUBERNETES}/manifests"
        servers = f"{manifests}/kube-apiserver.yaml {manifests}/kube-controller-manager.yaml"
        ask = f"{KUBECTL} --request-timeout {patient(REQUEST_SECONDS)}s get deployments -n kube-system --output name"
        return {
            "unfinished": f"ls {paths.INIT_MARKER} {paths.JOIN_MARKER}",
            "arguments": f"sed -n 's/^ *- --//p' {servers}",
            "images": f"sed -n 's/^ *image: *//p' {manifests}/*.yaml",
            "kubelet": f"grep -E '^(cgroupDriver|clusterDomain):' {paths.KUBELET_CONFIG}",
            "server": f"sed -n 's/^ *server: *//p' {paths.KUBELET_CONF}",
            "node_ip": "grep -oE -- '--node-ip=[0-9.]+' /var/lib/kubelet/kubeadm-flags.env | cut -d = -f 2",
            "pause": "grep -oE -- '--pod-infra-container-image=[^ \"]+' /var/lib/kubelet/kubeadm-flags.env "
            "| cut -d = -f 2",
            # The one of the YAML documents that has what the agents are told.
            **{
                f"network-{name}": f"""awk 'BEGIN {{RS = "---\\n"}} /{manifest.cni_config}:/' """
                f"{paths.MANIFESTS}/{name}.yaml"
                for name, manifest in MANIFESTS.items()
            },
            "deployments": f"test -e {paths.ADMIN_CONF} && {ask} | cut -d / -f 2",
            "proxy_mode": f"sed -n 's/^mode: *//p' {paths.INIT_CONFIG}",
            "conntrack": f"test -e {paths.INIT_CONFIG} && {{ sed -n 's/^ *maxPerCore: *//p' {paths.INIT_CONFIG}; "
            f'echo "{DEFAULT}"; }} | head -n 1',
        }

    def read(self, found: Answers) -> InUse:
        images = [line.strip("\"'") for line in found["images"]]
        return InUse(
            unfinished=bool(found["unfinished"]),
            arguments=_pairs(found["arguments"], "="),
            images={reference.rpartition("/")[2].partition(":")[0]: reference for reference in images},
            kubelet=_pairs(found["kubelet"], ":"),
            server=_only(found, "server"),
            node_ip=_only(found, "node_ip"),
            deployments=tuple(found["deployments"]),
            pause_image=_only(found, "pause"),
            networks={
                name: manifest.in_use("\n".join(found[f"network-{name}"])) for name, manifest in MANIFESTS.items()
            },
            proxy_mode=_only(found, "proxy_mode"),
            conntrack=_only(found, "conntrack") or None,
        )


def _pairs(lines: Sequence[str], sign: str) -> dict[str, str]:
    pairs = (line.partition(sign) for line in lines)
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _only(found: Answers, name: str) -> str:
    return "".join(found[name][:1])
