"""Run podnet on this node; configured by the environment that the DaemonSet sets."""

import logging
import os
import signal
import sys
from collections.abc import Mapping
from ipaddress import IPv4Network

from agents.kubeapi import Api, ApiError, Follower
from agents.podnet.agent import Agent
from agents.podnet.events import watch_kernel
from agents.podnet.files import Files
from agents.podnet.host import Host
from agents.podnet.nodes import Node, read_node
from agents.podnet.plan import Config, PodnetError

NODES = "/api/v1/nodes"


def read_config(environment: Mapping[str, str]) -> Config:
    """NODE_NAME, POD_CIDR (a.b.c.d/n), VXLAN_VNI, VXLAN_PORT. Raises PodnetError with a line for each that is wrong."""
    problems = [f"{name} is not set" for name in ("NODE_NAME", "POD_CIDR") if not environment.get(name)]
    if problems:
        raise PodnetError("\n".join(problems))
    try:
        return Config(
            node_name=environment["NODE_NAME"],
            pod_cidr=IPv4Network(environment["POD_CIDR"]),
            vni=int(environment.get("VXLAN_VNI", "1")),
            port=int(environment.get("VXLAN_PORT", "8472")),
        )
    except ValueError as error:
        raise PodnetError(f"POD_CIDR, VXLAN_VNI or VXLAN_PORT: {error}") from error


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    log = logging.getLogger("podnet")
    try:
        config = read_config(os.environ)
        api = Api.in_cluster()
    except (PodnetError, ApiError) as error:
        log.error("%s", error)
        return 2
    log.info("podnet on %s: pods %s, VNI %d, UDP %d", config.node_name, config.pod_cidr, config.vni, config.port)
    log.warning("NetworkPolicy is NOT enforced by this version: policies are accepted and have no effect")

    def publish(node: str, annotations: dict[str, str]) -> None:
        try:
            api.merge_patch(f"{NODES}/{node}", {"metadata": {"annotations": annotations}})
        except ApiError as error:
            raise PodnetError(f"cannot publish this node's VTEP: {error}") from error

    follower: Follower[Node] = Follower(api, NODES, read_node, lambda: agent.wake())
    agent = Agent(config, follower.objects, publish, Host(), Files())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    follower.start()
    watch_kernel(agent.wake)
    agent.run()
    log.info("stopped; the node's network stays as it is")
    return 0


if __name__ == "__main__":
    sys.exit(main())
