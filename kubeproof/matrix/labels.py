"""Changes of labels that a case makes, and their undoing."""

from collections.abc import Iterable, Mapping

from kubeproof.matrix.api import Api, object_path
from kubeproof.matrix.cases import Json, LabelChange
from kubeproof.matrix.layout import channel_pod, full_name

NAME_LABEL = "kubernetes.io/metadata.name"
"""The API server gives it to every namespace, from 1.21 on."""


class Labels:
    """Labels of probe pods and their namespaces, which a case may change and nothing else does."""

    def __init__(self, api: Api, pods: Iterable[Json], namespaces: Iterable[Json]) -> None:
        """``pods`` and ``namespaces`` as the template has them: with the labels that they are to have again."""
        self._api = api
        self._original = {object_path(item): dict(item["metadata"]["labels"]) for item in (*pods, *namespaces)}
        self._changed: set[str] = set()

    def change(self, changes: Iterable[LabelChange]) -> None:
        for change in changes:
            path = _path_of(change)
            self._changed.add(path)
            self._patch(path, {**change.set, **dict.fromkeys(change.remove)})

    def restore(self) -> None:
        for path in sorted(self._changed):
            self._restore(path)
        self._changed.clear()

    def restore_all(self) -> None:
        for path in self._original:
            self._restore(path)

    def _restore(self, path: str) -> None:
        wanted = self._original[path]
        found = self._api.request("GET", path)["metadata"].get("labels") or {}
        present = {key: value for key, value in found.items() if key != NAME_LABEL}
        if present != wanted:
            self._patch(path, {**dict.fromkeys(present), **wanted})

    def _patch(self, path: str, labels: Mapping[str, str | None]) -> None:
        self._api.request("PATCH", path, {"metadata": {"labels": dict(labels)}})


def _path_of(change: LabelChange) -> str:
    if change.kind == "namespace":
        return object_path({"kind": "Namespace", "metadata": {"name": full_name(change.name)}})
    namespace, name = channel_pod(change.name)
    return object_path({"kind": "Pod", "metadata": {"namespace": namespace, "name": name}})
