"""How hosts are reached: what an inventory may say of it, and the files that it names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv6Address
from pathlib import Path, PurePath

from pyinfra.api.arguments import ConnectorArguments
from pyinfra.connectors.ssh import ConnectorData

from kubeproof.config import reading
from kubeproof.config.reading import Reader, RefusedError

OTHER_WORDS = {
    # Ansible's
    **dict.fromkeys(("ansible_host", "ansible_ssh_host"), "ssh_hostname"),
    **dict.fromkeys(("ansible_user", "ansible_ssh_user"), "ssh_user"),
    **dict.fromkeys(("ansible_port", "ansible_ssh_port"), "ssh_port"),
    **dict.fromkeys(("ansible_ssh_private_key_file", "ansible_private_key_file"), "ssh_key"),
    **dict.fromkeys(("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"), "ssh_password"),
    **dict.fromkeys(("ansible_ssh_common_args", "ansible_ssh_extra_args"), "ssh_config_file"),
    "ansible_become": "_sudo",
    **dict.fromkeys(("ansible_become_user", "become_user"), "_sudo_user"),
    **dict.fromkeys(("ansible_become_pass", "ansible_become_password", "ansible_sudo_pass"), "_sudo_password"),
    **dict.fromkeys(("become", "sudo", "use_sudo"), "_sudo"),
    # those of kubespray, KubeKey, k0sctl, RKE and ssh itself
    **dict.fromkeys(("ip", "access_ip", "internal_ip", "internalAddress", "internal_address", "private_ip"), "address"),
    **dict.fromkeys(("host", "hostname", "public_ip", "HostName"), "ssh_hostname"),
    **dict.fromkeys(("user", "username", "remote_user", "User"), "ssh_user"),
    **dict.fromkeys(("port", "Port"), "ssh_port"),
    **dict.fromkeys(("key", "keyPath", "privateKeyPath", "ssh_key_path", "private_key", "IdentityFile"), "ssh_key"),
    **dict.fromkeys(("password", "ssh_pass"), "ssh_password"),
    **dict.fromkeys(("kube_version", "kubernetesVersion", "k8s_version"), "kubernetes_version"),
    **dict.fromkeys(("kube_pods_subnet", "pod_network_cidr", "podSubnet", "cluster_cidr", "pod_subnet"), "pod_cidr"),
    **dict.fromkeys(("kube_service_addresses", "serviceSubnet", "service_network", "service_subnet"), "service_cidr"),
    **dict.fromkeys(("kube_network_plugin", "network_plugin", "cni_plugin", "pod_network"), "cni"),
    **dict.fromkeys(("container_manager", "container_engine", "runtime"), "container_runtime"),
    **dict.fromkeys(("kube_network_node_prefix", "node_cidr_mask_size"), "pod_subnet_bits"),
    **dict.fromkeys(("dns_domain", "dnsDomain", "cluster_name"), "cluster_domain"),
}
"""What other tools call the same."""

_FILES = ("ssh_key", "ssh_config_file")
_KEY_BEGIN = 4096
_PUBLIC_KEY = re.compile(r"(?:ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-|---- BEGIN SSH2 PUBLIC KEY|-----BEGIN PUBLIC KEY)")
"""How public keys begin (sshd(8), AUTHORIZED_KEYS FILE FORMAT; RFC 4716)."""


def problems(name: str, data: Mapping[str, object]) -> Iterator[str]:
    """A line for each piece of a host's data that pyinfra or ssh would not take, or would take for something else."""
    for key, read in READERS.items():
        if data.get(key) is not None:
            try:
                read(data[key])
            except RefusedError as refused:
                yield f"{name}: {refused.line(key, '…' if 'password' in key else data[key])}"


def file_problems(hosts: "Iterable[tuple[str, Mapping[str, object]]]") -> list[str]:
    """A line for each file that a host's data names and that is not there or is something else, each told once."""
    users: dict[tuple[str, str], list[str]] = {}
    for name, data in hosts:
        for key in _FILES:
            if isinstance(written := data.get(key), str) and written:
                users.setdefault((key, written), []).append(name)
    checked = ((key, written, names, _file_problem(key, written)) for (key, written), names in users.items())
    return [
        f"{', '.join(names)}: {reading.problem(key, wrong, written, advice)}"
        for key, written, names, (wrong, advice) in checked
        if wrong
    ]


def _file_problem(key: str, written: str) -> tuple[str, str]:
    try:
        path = Path(written).expanduser()
        if not path.is_file():
            return "is no file on this machine", "name one that is there"
        with path.open("rb") as file:
            begin = file.read(_KEY_BEGIN).decode(errors="replace").lstrip()
    except (OSError, ValueError, RuntimeError) as error:
        return (
            f"cannot be read ({getattr(error, 'strerror', None) or error})",
            "correct its permissions or name another",
        )
    if key == "ssh_key" and _PUBLIC_KEY.match(begin):
        return "is a public key", f"name the private one, e.g. {written.removesuffix('.pub')}"
    return "", ""


def _host_name(value: object) -> str:
    """A name or address that ssh connects to: what follows is a word of its command line."""
    written = reading.text(value)
    if "@" in written:
        raise RefusedError("has a user in it", "set ssh_user instead")
    if "://" in written or "/" in written:
        raise RefusedError("is no name or address", "write the name or address alone")
    if re.fullmatch(r"\[.*\](?::\d+)?|[^:]*:\d+", written):
        raise RefusedError("has more than a name or address in it", "set ssh_port for the port, and leave brackets out")
    if ":" in written:
        try:
            IPv6Address(written)
        except ValueError:
            raise RefusedError("is no name or address", "write the name or address alone") from None
    elif not re.fullmatch(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*)", written):
        raise RefusedError("is no name or address", "write the name or address alone")
    return written


def _user(value: object) -> str:
    written = reading.text(value)
    if not re.fullmatch(r"[^\s:@/-][^\s:@/]*", written):
        raise RefusedError("is no name of a user", "write the name alone")
    return written


def _file(value: object) -> str:
    return reading.filled(reading.text, "remove it")(str(value) if isinstance(value, PurePath) else value)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 86400:
        raise RefusedError("is no number of seconds", "use a number without quotes")
    return float(value)


def _named_values(value: object) -> object:
    if not isinstance(value, dict):
        raise RefusedError("is no dict", "put names and values in braces")
    return value


_BY_TYPE: dict[str, Reader[object]] = {
    "str": reading.text,
    "int": reading.integer(0, 1000),
    "float": _number,
    "bool": reading.truth,
    "dict": _named_values,
}
READERS: dict[str, Reader[object]] = {
    **{key: _BY_TYPE[kind.__forward_arg__] for key, kind in ConnectorData.__annotations__.items()},
    **{
        key: _BY_TYPE[kind.__forward_arg__]
        for key, kind in ConnectorArguments.__annotations__.items()
        if kind.__forward_arg__ in ("bool", "str")
    },
    "ssh_hostname": _host_name,
    "ssh_port": reading.port,
    "ssh_user": _user,
    "ssh_key": _file,
    "ssh_config_file": _file,
    "ssh_strict_host_key_checking": reading.one_of("yes", "accept-new", "ask", "no", "off"),
}
"""By the name of what pyinfra reads of a host's data."""
