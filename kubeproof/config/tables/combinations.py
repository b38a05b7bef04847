"""Which settings of versions, runtimes and packages go together. Pure: refusals are lines for people.

What of hosts does not go with them is found by kubeproof/rules/before_deploy/versions.py.
"""

from collections.abc import Iterator, Mapping

from kubeproof.config.reading import problem
from kubeproof.config.tables import version_traits
from kubeproof.config.tables.version_traits import ERAS

_OWN_MIRROR = "name your apt mirror's in a group_data file of your inventory's name (see inventory/example.py)"

KEYS = {
    "kubernetes_apt_key": "kubernetes_apt_url",
    "kubernetes_rpm_key": "kubernetes_rpm_url",
    "runtime_rpm_key": "runtime_rpm_url",
}
"""The settings of keys, and those of the repositories beside which they are looked for if they are empty."""


def of_settings(values: Mapping[str, object]) -> Iterator[str]:
    """A line for each setting that does not go with others; what is wrong by itself is not in ``values``."""
    yield from _packages(values)
    yield from _package_version(values)
    yield from _insecure_networks(values)
    yield from _unpinned_keys(values)
    yield from _proxy_mode(values)


def _packages(values: Mapping[str, object]) -> Iterator[str]:
    """Where packages come from: the project's repository does not have every version."""
    match values:
        case {"kubernetes_version": str() as version} if not ERAS[version_traits.minor_of(version)].community_packages:
            pass
        case _:
            return
    if values.get("kubernetes_rpm_url"):
        return
    for name in ("kubernetes_apt_url", "kubernetes_apt_key"):
        if values.get(name) == "":
            yield problem(name, "has no value", "", _OWN_MIRROR)


def _package_version(values: Mapping[str, object]) -> Iterator[str]:
    match values:
        case {"kubernetes_version": str() as version, "kubernetes_package_version": str() as package} if package:
            if not package.startswith(f"{version}-"):
                advice = f"use {version}-… or leave it empty for the newest of that version"
                yield problem("kubernetes_package_version", f"is not of Kubernetes {version}", package, advice)


def _insecure_networks(values: Mapping[str, object]) -> Iterator[str]:
    """Docker takes networks of registries, containerd has a folder for each registry by its name."""
    match values:
        case {"container_runtime": "containerd", "insecure_registries": tuple() as registries}:
            for registry in registries:
                if "/" in registry:
                    yield problem(
                        "insecure_registries",
                        "has a network, which containerd cannot take",
                        registry,
                        "name its registries as host:port",
                    )


def _unpinned_keys(values: Mapping[str, object]) -> Iterator[str]:
    """A key that decides what root installs, fetched so that anybody on the way can replace it."""
    for key, repository in KEYS.items():
        source = values.get(key) or values.get(repository)
        pin = f"{key}_fingerprint"
        if isinstance(source, str) and source.startswith("http://") and values.get(pin) == "":
            advice = f"set it to what `gpg --show-keys` tells of the true key, or give {key} as https:// or a path"
            yield problem(pin, f"is empty although the key comes by plain HTTP from {source}", "", advice)


def _proxy_mode(values: Mapping[str, object]) -> Iterator[str]:
    match values:
        case {"kubernetes_version": str() as version, "kube_proxy_mode": str() as mode}:
            era = ERAS[version_traits.minor_of(version)]
            if mode not in era.proxy_modes:
                first = next(minor for minor, each in ERAS.items() if mode in each.proxy_modes)
                wrong = f"is nothing that kube-proxy {era.minor} has without a feature gate"
                advice = f"use {' or '.join(era.proxy_modes)}, or Kubernetes {first} or newer"
                yield problem("kube_proxy_mode", wrong, mode, advice)
