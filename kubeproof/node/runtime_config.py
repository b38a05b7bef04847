"""The files by which a container runtime is configured. Pure but for reading templates."""

from collections.abc import Iterator
from dataclasses import dataclass

from kubeproof.config.cluster import Cluster
from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.config.tables.runtimes import Runtime
from kubeproof.node import proxies, templates
from kubeproof.node.docker_config import merged
from kubeproof.node.images import pause_image


@dataclass(frozen=True)
class ConfigFile:
    """A file to place. The service has to be restarted for it if ``restarts``."""

    purpose: str
    path: str
    text: str
    mode: str = "644"
    restarts: bool = False


NO_PROXY = "# There is no proxy any more.\n"


def config_files(
    cluster: Cluster, present: str, *, enforcing: bool, had_proxy: bool = False, first: str | None = None
) -> tuple[ConfigFile, ...]:
    """All files of the runtime on a host.

    ``present`` is the text of its configuration now, of which Docker's keys of the host's own are kept; ``first`` is
    what it was before the first deploy, None on a host that none has been on. ``enforcing`` tells whether SELinux is to
    hold for containers, ``had_proxy`` whether an earlier deploy has told it of a proxy.
    """
    return (*_own(cluster.settings, (present, first), enforcing), *_common(cluster), *_proxy(cluster, had_proxy))


def proxy_drop_in(runtime: Runtime) -> str:
    """Where systemd is told that the runtime uses the proxy."""
    return f"{runtime.drop_in}/kubeproof-proxy.conf"


def _own(settings: Settings, texts: tuple[str, str | None], enforcing: bool) -> Iterator[ConfigFile]:
    path = settings.runtime.config
    if settings.runtime.name == "docker":
        wanted = templates.render("daemon.json.j2", settings=settings, enforcing=enforcing)
        yield ConfigFile("Configure Docker", path, merged(texts[0], wanted, texts[1]), restarts=True)
        return
    text = templates.render(
        "containerd.toml.j2", settings=settings, pause_image=pause_image(settings), enforcing=enforcing
    )
    yield ConfigFile("Configure containerd", path, text, restarts=True)
    for name, hosts in _registries(settings):
        text = templates.render("containerd-hosts.toml.j2", registry=name, hosts=hosts)
        yield ConfigFile(f"Say how {name} is reached", f"{paths.CONTAINERD_REGISTRIES}/{name}/hosts.toml", text)


def _registries(settings: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Registries that are not reached as their names say, with the URLs to try."""
    if settings.registry_mirrors:
        yield "docker.io", settings.registry_mirrors
    for registry in settings.insecure_registries:
        yield registry, (f"http://{registry}",)


def _common(cluster: Cluster) -> Iterator[ConfigFile]:
    runtime = cluster.settings.runtime
    yield ConfigFile(
        f"Have {runtime.title} drop forwarded packets by default, at boot",
        f"{runtime.drop_in}/kubeproof.conf",
        templates.render("runtime-drop-in.conf.j2", title=runtime.title),
    )
    if runtime.cri_socket:
        text = templates.render("crictl.yaml.j2", socket=runtime.cri_socket)
        yield ConfigFile("Tell crictl the runtime's socket", paths.CRICTL_CONFIG, text)


def _proxy(cluster: Cluster, had_proxy: bool) -> Iterator[ConfigFile]:
    """What was written for a proxy is overwritten when there is none any more, not removed: only a file that is newer
    than the service tells a later deploy that a restart was missed."""
    runtime = cluster.settings.runtime
    environment = proxies.environment(cluster)
    if not environment and not had_proxy:
        return
    drop_in = templates.render("proxy-drop-in.conf.j2", environment=paths.PROXY_ENVIRONMENT)
    yield ConfigFile(
        "Write the proxy's addresses", paths.PROXY_ENVIRONMENT, environment or NO_PROXY, mode="600", restarts=True
    )
    yield ConfigFile(
        f"Have {runtime.title} use the proxy",
        proxy_drop_in(runtime),
        drop_in if environment else NO_PROXY,
        restarts=True,
    )
