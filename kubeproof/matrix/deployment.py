"""The probe pods with their namespaces and Services: made, waited for, found again, and removed."""

import contextlib
import functools
import hashlib
import time
from collections.abc import Callable

import yaml

from kubeproof.config.cluster import Cluster
from kubeproof.config.patience import patient
from kubeproof.matrix import layout
from kubeproof.matrix.api import CONFLICT, FORBIDDEN, NOT_FOUND, Api, ApiError, collection_path
from kubeproof.matrix.cases import Json
from kubeproof.matrix.layout import ALL_NAMESPACES, NODE_NAMESPACE, IncompleteError, Layout
from kubeproof.node import templates
from kubeproof.terminal.errors import CommandError, UserError

TEMPLATE = "policy-probe.yaml.j2"
MANAGED_BY = ("app.kubernetes.io/managed-by", "kubeproof")
DIGEST = "kubeproof.dev/probe-pods"
"""Annotation of the nodes' namespace: which pods were put there, so that others are not taken for them."""
READY_SECONDS = 120.0
"""For all pods to run, the pull of their image included."""
GONE_SECONDS = 120.0
"""For namespaces to go, with all that is in them."""
STOP_SECONDS = 4.0
"""For the pods' containers to end, before the controller of namespaces looks for what is left in them.

It does so 5 s after their deletion. Where it finds a pod whose grace has passed, it comes again after 5, 10, 20 and 40
s more (Kubernetes, pkg/controller/namespace/namespace_controller.go), and kubelet 1.20, which takes ended pods away
once in 10 s (pkg/kubelet/status/status_manager.go), has not done so by then.
"""
NOW = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
POLL_SECONDS = 0.3
NAMESPACES = "/api/v1/namespaces"


class ProbePods:
    def __init__(self, api: Api, cluster: Cluster) -> None:
        self._api = api
        self._cluster = cluster
        text = templates.objects(TEMPLATE, cluster)
        self.objects: list[Json] = [item for item in yaml.load_all(text, yaml.CSafeLoader) if item]
        self._digest = hashlib.sha256(text.encode()).hexdigest()[:12]

    def of_kind(self, kind: str) -> list[Json]:
        return [item for item in self.objects if item["kind"] == kind]

    def require_ours(self) -> None:
        """Raise UserError if namespaces of these names are somebody else's."""
        problems = [
            f"namespace {name}: is there and not of this command (no label {'='.join(MANAGED_BY)}), rename or delete it"
            for name, item in self._namespaces().items()
            if (item["metadata"].get("labels") or {}).get(MANAGED_BY[0]) != MANAGED_BY[1]
        ]
        if problems:
            raise UserError(problems)

    def are_there(self) -> bool:
        """Whether an earlier run has left these very pods, all of them running."""
        found = self._namespaces()
        if set(found) != set(ALL_NAMESPACES) or any(_is_going(item) for item in found.values()):
            return False
        if (found[NODE_NAMESPACE]["metadata"].get("annotations") or {}).get(DIGEST) != self._digest:
            return False
        try:
            self.read_layout()
        except IncompleteError:
            return False
        return True

    def create(self) -> None:
        """Make all objects, and wait for nothing but what the next object needs. Raises CommandError."""
        for item in self.of_kind("Namespace"):
            self._api.request("POST", collection_path(item), item)
        for namespace in ALL_NAMESPACES:
            # Without it, a pod is refused; a controller makes it.
            self._until(functools.partial(self._account_missing, namespace), READY_SECONDS)
        for kind in ("Service", "Pod"):
            for item in self.of_kind(kind):
                self._api.request("POST", collection_path(item), item)
        annotations = {"metadata": {"annotations": {DIGEST: self._digest}}}
        self._api.request("PATCH", f"{NAMESPACES}/{NODE_NAMESPACE}", annotations)

    def wait(self) -> Layout:
        """The layout, when all pods run. Raises CommandError naming what does not."""
        found: list[Layout] = []

        def lacking() -> str:
            try:
                found.append(self.read_layout())
            except IncompleteError as error:
                return str(error)
            return ""

        self._until(lacking, READY_SECONDS)
        return found[-1]

    def read_layout(self) -> Layout:
        """Where everything is. Raises IncompleteError."""
        pods, services, nodes = (
            self._api.request("GET", f"/api/v1/{name}")["items"] for name in ("pods", "services", "nodes")
        )
        return layout.read(self._cluster, pods, services, nodes)

    def remove(self) -> None:
        """Delete the namespaces with all that is in them, and wait until they are gone. Raises CommandError."""
        found = self._namespaces()
        for name, item in found.items():
            if not _is_going(item):
                self._delete(f"{NAMESPACES}/{name}")
        for name in found:
            self._delete(f"{NAMESPACES}/{name}/pods")
        # A node that is down never says that its containers have ended.
        with contextlib.suppress(CommandError):
            self._until(self._running, STOP_SECONDS)
        for name in found:
            self._delete(f"{NAMESPACES}/{name}/pods", NOW)
        self._until(self._left, GONE_SECONDS)

    def _running(self) -> str:
        pods = (pod for pod in self._api.request("GET", "/api/v1/pods")["items"] if _namespace(pod) in ALL_NAMESPACES)
        return ", ".join(f"{_namespace(pod)}/{pod['metadata']['name']} still runs" for pod in pods if _runs(pod))

    def _left(self) -> str:
        names = ", ".join(self._namespaces())
        return names and f"{names} still there"

    def _delete(self, path: str, options: Json | None = None) -> None:
        try:
            self._api.request("DELETE", path, options)
        except ApiError as error:
            if error.status not in (NOT_FOUND, CONFLICT):
                raise

    def _namespaces(self) -> dict[str, Json]:
        items = self._api.request("GET", NAMESPACES)["items"]
        return {item["metadata"]["name"]: item for item in items if item["metadata"]["name"] in ALL_NAMESPACES}

    def _account_missing(self, namespace: str) -> str:
        try:
            self._api.request("GET", f"{NAMESPACES}/{namespace}/serviceaccounts/default")
        except ApiError as error:
            if error.status not in (NOT_FOUND, FORBIDDEN):
                raise
            return f"namespace {namespace} has no service account yet"
        return ""

    def _until(self, lacking: Callable[[], str], seconds: float) -> None:
        """Poll until nothing is lacking any more. Raises CommandError with the last thing that was."""
        seconds = patient(seconds)
        end = time.monotonic() + seconds
        while last := lacking():
            if time.monotonic() > end:
                raise CommandError(f"probe pods: {last} after {seconds:.0f} s")
            time.sleep(POLL_SECONDS)


def _is_going(item: Json) -> bool:
    return bool(item["metadata"].get("deletionTimestamp"))


def _namespace(item: Json) -> str:
    return str(item["metadata"].get("namespace", ""))


def _runs(pod: Json) -> bool:
    return any("running" in status.get("state", {}) for status in pod.get("status", {}).get("containerStatuses") or ())
