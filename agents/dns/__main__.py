"""Serve the cluster's names; configured by the environment that the Deployment sets."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from agents.dns.records import Endpoints, Service, hosts_file, read_endpoints, read_service
from agents.dns.server import Config, Dnsmasq, upstream_servers
from agents.kubeapi import Api, ApiError, Follower

CHECK_SECONDS = 2.0
"""How soon a dnsmasq that has died is noticed."""
GATHER_SECONDS = 0.3
"""Changes that come within this time (a rollout makes dozens) cost one reload."""
RESOLV_CONF = Path("/etc/resolv.conf")

log = logging.getLogger("cluster-dns")


def read_config(environment: Mapping[str, str]) -> Config:
    """CLUSTER_DOMAIN, and SERVICE_CIDR and POD_CIDR (a.b.c.d/n). Raises ValueError or KeyError if one is wrong."""
    networks = tuple(IPv4Network(environment[name]) for name in ("SERVICE_CIDR", "POD_CIDR"))
    return Config(domain=environment["CLUSTER_DOMAIN"], networks=networks)


class Watcher:
    """Keeps dnsmasq's names those of the API server's Services and Endpoints."""

    def __init__(self, api: Api, config: Config, dnsmasq: Dnsmasq) -> None:
        self._config = config
        self._dnsmasq = dnsmasq
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._services: Follower[Service] = Follower(api, "/api/v1/services", read_service, self._changed.set)
        self._endpoints: Follower[Endpoints] = Follower(api, "/api/v1/endpoints", read_endpoints, self._changed.set)

    def stop(self) -> None:
        self._stopped.set()
        self._changed.set()

    def run(self) -> int:
        """Until stopped (0) or until dnsmasq has died (1): then the pod is to be restarted."""
        self._services.start()
        self._endpoints.start()
        while not self._stopped.is_set():
            if (code := self._dnsmasq.exit_code()) is not None:
                log.error("dnsmasq has ended with exit code %d", code)
                return 1
            if self._changed.wait(CHECK_SECONDS):
                self._stopped.wait(GATHER_SECONDS)
                self._changed.clear()
                self._update()
        self._dnsmasq.stop()
        return 0

    def _update(self) -> None:
        services, endpoints = self._services.objects(), self._endpoints.objects()
        if services is None or endpoints is None:
            return
        hosts = hosts_file(services, endpoints, self._config.domain)
        if self._dnsmasq.serve(hosts):
            log.info("serving %d names", len(hosts.splitlines()))


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        config = read_config(os.environ)
        api = Api.in_cluster()
    except (ApiError, KeyError, ValueError) as error:
        log.error("CLUSTER_DOMAIN, SERVICE_CIDR, POD_CIDR or the service account: %s", error)
        return 2
    own = [IPv4Address(os.environ[name]) for name in ("DNS_ADDRESS",) if name in os.environ]
    upstream = upstream_servers(RESOLV_CONF.read_text(), own)
    log.info("names outside %s: %s", config.domain, f"asked of {', '.join(upstream)}" if upstream else "refused")
    watcher = Watcher(api, config, Dnsmasq(config, upstream))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: watcher.stop())
    return watcher.run()


if __name__ == "__main__":
    sys.exit(main())
