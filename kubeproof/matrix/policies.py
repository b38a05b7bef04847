"""The policies of a case: what the API server would keep of them, and putting them there and away again."""

import copy
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kubeproof.matrix.api import INVALID, Api, ApiError
from kubeproof.matrix.cases import Json
from kubeproof.matrix.layout import TARGET_NAMESPACES


def policies_path(namespace: str = "") -> str:
    """The API's path of NetworkPolicies, of all namespaces by default."""
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/networking.k8s.io/v1{within}/networkpolicies"


class Policies:
    """The policies in the namespaces of the probe pods: only those of the case that is tried."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def clear(self) -> None:
        for namespace in TARGET_NAMESPACES:
            self._api.request("DELETE", policies_path(namespace))

    def apply(self, policies: Iterable[Json]) -> None:
        for policy in policies:
            self._api.request("POST", policies_path(policy["metadata"]["namespace"]), policy)

    def try_out(self, policies: Iterable[Json]) -> Iterator["Loss"]:
        """What the API server would not keep of policies, or refuses. Changes nothing.

        They are tried in the namespace default and under another name, since theirs need not be there yet.
        """
        for policy in policies:
            name = f"{policy['metadata']['namespace']}/{policy['metadata']['name']}"
            try:
                stored = self._api.request("POST", policies_path("default"), _renamed(policy), dryRun="All")
            except ApiError as error:
                if error.status != INVALID:
                    raise
                yield from (Loss(name, cause, refused=True) for cause in error.causes or (str(error),))
                continue
            yield from (Loss(name, path) for path in dropped(policy.get("spec"), stored.get("spec"), "spec"))


@dataclass(frozen=True)
class Loss:
    """A field of a policy (``namespace/name``) that the API server drops, or why it refuses the policy."""

    policy: str
    text: str
    refused: bool = False


def _renamed(policy: Json) -> Json:
    renamed = copy.deepcopy(policy)
    renamed["metadata"] |= {"namespace": "default", "name": f"kubeproof-dry-run-{secrets.token_hex(4)}"}
    return renamed


def dropped(sent: object, stored: object, path: str) -> Iterator[str]:
    """Paths of what was sent and is not in what was stored. What is empty may be left out: it says nothing. Pure."""
    if isinstance(sent, Mapping):
        kept = stored if isinstance(stored, Mapping) else {}
        for key, value in sent.items():
            if key in kept:
                yield from dropped(value, kept[key], f"{path}.{key}")
            elif value not in (None, "", [], {}):
                yield f"{path}.{key}"
    elif isinstance(sent, list):
        kept_items = stored if isinstance(stored, list) else []
        for index, value in enumerate(sent):
            if index < len(kept_items):
                yield from dropped(value, kept_items[index], f"{path}[{index}]")
            else:
                yield f"{path}[{index}]"


def names_of_dropped(paths: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(path.rpartition(".")[2] for path in paths))
