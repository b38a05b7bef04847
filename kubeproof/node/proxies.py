"""By which proxy a host fetches things, and what must not go by it. Pure."""

from ipaddress import IPv4Address, IPv4Network
from urllib.parse import urlsplit

from kubeproof.config.cluster import Cluster
from kubeproof.config.settings import Settings

LOCAL = ("localhost", "127.0.0.1")


def is_used(settings: Settings) -> bool:
    return bool(settings.http_proxy or settings.https_proxy)


def exceptions(cluster: Cluster) -> tuple[str, ...]:
    """What is reached without the proxy, each once: this host, nodes, pods, Services and the user's own.

    Networks in CIDR form are for programs in Go (golang.org/x/net/http/httpproxy), such as all of Kubernetes and the
    runtimes; others, such as curl before 7.86, need the addresses of the nodes too.
    """
    nodes = tuple(text for node in cluster.nodes for text in (node.name, str(node.address)))
    return tuple(dict.fromkeys([*_of_networks(cluster.settings), *nodes]))


def _of_networks(settings: Settings) -> tuple[str, ...]:
    """The same without the nodes one by one."""
    networks = (settings.node_network, settings.pod_cidr, settings.service_cidr)
    domains = (".svc", f".{settings.cluster_domain}")
    return tuple(dict.fromkeys([*LOCAL, *map(str, networks), *domains, *settings.no_proxy]))


def environment(cluster: Cluster) -> str:
    """Lines NAME=value for systemd's EnvironmentFile and for a shell; empty without a proxy.

    Read by programs in Go, to which the nodes' network names all nodes: with each of them in it, adding one would
    restart the runtime on all others.
    """
    settings = cluster.settings
    if not is_used(settings):
        return ""
    values = {
        "HTTP_PROXY": settings.http_proxy,
        "HTTPS_PROXY": settings.https_proxy or settings.http_proxy,
        "NO_PROXY": ",".join(_of_networks(settings)),
    }
    return "".join(f"{name}='{value}'\n" for name, value in values.items() if value)


def is_direct(cluster: Cluster, url: str) -> bool:
    """Whether a URL is reached without the proxy: its host is an exception, in one of the networks, or of a domain."""
    host = urlsplit(url).hostname or ""
    return any(_covers(exception, host) for exception in exceptions(cluster)) if host else False


def _covers(exception: str, host: str) -> bool:
    if "/" in exception:
        try:
            return IPv4Address(host) in IPv4Network(exception, strict=False)
        except ValueError:
            return False
    return host == exception.lstrip(".") or host.endswith(f".{exception.lstrip('.')}")


def apt_configuration(cluster: Cluster) -> str:
    """apt.conf(5) lines. apt knows exceptions by host name only: those of no_proxy that are one, and the mirror's."""
    settings = cluster.settings
    proxies = {"http": settings.http_proxy, "https": settings.https_proxy or settings.http_proxy}
    lines = [f'Acquire::{scheme}::Proxy "{url}";' for scheme, url in proxies.items() if url]
    mirror = [urlsplit(settings.kubernetes_apt_url).hostname] if is_direct(cluster, settings.kubernetes_apt_url) else []
    named = [name for name in settings.no_proxy if not name.startswith(".") and "/" not in name]
    for host in dict.fromkeys([*mirror, *named]):
        lines += [f'Acquire::{scheme}::Proxy::{host} "DIRECT";' for scheme, url in proxies.items() if url]
    return "".join(f"{line}\n" for line in lines)


def dnf_configuration(settings: Settings) -> str:
    """A line of dnf.conf(5), section main."""
    return f"proxy={settings.https_proxy or settings.http_proxy}\n"
