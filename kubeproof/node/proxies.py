"""By which proxy a host fetches things, and what must not go by it. Pure."""

from urllib.parse import urlsplit

from kubeproof.cluster import Cluster
from kubeproof.settings import Settings

LOCAL = ("localhost", "127.0.0.1")


def is_used(settings: Settings) -> bool:
    """Whether there is a proxy at all."""
    return bool(settings.http_proxy or settings.https_proxy)


def exceptions(cluster: Cluster) -> tuple[str, ...]:
    """What is reached without the proxy, each once: this host, nodes, pods, Services and the user's own.

    Networks in CIDR form are for programs in Go (golang.org/x/net/http/httpproxy), such as all of Kubernetes and the
    runtimes; others, such as curl before 7.86, need the addresses of the nodes too.
    """
    settings = cluster.settings
    networks = (settings.node_network, settings.pod_cidr, settings.service_cidr)
    nodes = tuple(text for node in cluster.nodes for text in (node.name, str(node.address)))
    domains = (".svc", f".{settings.cluster_domain}")
    return tuple(dict.fromkeys([*LOCAL, *map(str, networks), *nodes, *domains, *settings.no_proxy]))


def environment(cluster: Cluster) -> str:
    """Lines NAME=value for systemd's EnvironmentFile and for a shell; empty without a proxy."""
    settings = cluster.settings
    if not is_used(settings):
        return ""
    values = {
        "HTTP_PROXY": settings.http_proxy,
        "HTTPS_PROXY": settings.https_proxy or settings.http_proxy,
        "NO_PROXY": ",".join(exceptions(cluster)),
    }
    return "".join(f"{name}='{value}'\n" for name, value in values.items() if value)


def apt_configuration(cluster: Cluster) -> str:
    """apt.conf(5) lines, with an exception for each repository of one's own that is reached directly."""
    settings = cluster.settings
    proxies = {"http": settings.http_proxy, "https": settings.https_proxy or settings.http_proxy}
    lines = [f'Acquire::{scheme}::Proxy "{url}";' for scheme, url in proxies.items() if url]
    direct = urlsplit(settings.kubernetes_apt_url).hostname or ""
    if direct in exceptions(cluster) or any(direct.endswith(name) for name in settings.no_proxy if name[0] == "."):
        lines += [f'Acquire::{scheme}::Proxy::{direct} "DIRECT";' for scheme in proxies]
    return "".join(f"{line}\n" for line in lines)


def dnf_configuration(settings: Settings) -> str:
    """A line of dnf.conf(5), section main."""
    return f"proxy={settings.https_proxy or settings.http_proxy}\n"
