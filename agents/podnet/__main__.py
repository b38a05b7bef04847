"""Run podnet on this node; configured by the environment that the DaemonSet sets."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network

from agents.kubeapi import Api, ApiError, Follower
from agents.podnet.agent import Agent, Nodes
from agents.podnet.events import watch_kernel
from agents.podnet.files import Files
from agents.podnet.host import Host
from agents.podnet.nodes import Node, read_node
from agents.podnet.plan import Config, PodnetError
from agents.podnet.policy.enforcer import Enforcer
from agents.podnet.policy.nft import Nft
from agents.podnet.policy.objects import World, read_namespace, read_pod
from agents.podnet.policy.off import SwitchedOff
from agents.podnet.policy.reading import read_policy

NODES = "/api/v1/nodes"
PODS = "/api/v1/pods"
NAMESPACES = "/api/v1/namespaces"
POLICIES = "/apis/networking.k8s.io/v1/networkpolicies"
ENFORCE = {"enforce": True, "off": False}
"""Values of NETWORK_POLICY."""

log = logging.getLogger("podnet")


def read_config(environment: Mapping[str, str]) -> Config:
    """NODE_NAME, POD_CIDR (a.b.c.d/n), VXLAN_VNI, VXLAN_PORT, NETWORK_POLICY (enforce, off).

    Raises PodnetError with a line for each that is wrong.
    """
    problems = [f"{name} is not set" for name in ("NODE_NAME", "POD_CIDR") if not environment.get(name)]
    network_policy = environment.get("NETWORK_POLICY", "enforce")
    if network_policy not in ENFORCE:
        problems.append(f"NETWORK_POLICY is {network_policy!r}, must be one of: {', '.join(ENFORCE)}")
    if problems:
        raise PodnetError("\n".join(problems))
    try:
        return Config(
            node_name=environment["NODE_NAME"],
            pod_cidr=IPv4Network(environment["POD_CIDR"]),
            vni=int(environment.get("VXLAN_VNI", "1")),
            port=int(environment.get("VXLAN_PORT", "8472")),
            enforce=ENFORCE[network_policy],
        )
    except ValueError as error:
        raise PodnetError(f"POD_CIDR, VXLAN_VNI or VXLAN_PORT: {error}") from error


def follow(api: Api, nodes: Nodes, config: Config, files: Files, settled: Callable[[], None]) -> Enforcer:
    """The enforcer of policies, fed with all that they depend on."""
    pods = Follower(api, PODS, read_pod, lambda: enforcer.wake())
    namespaces = Follower(api, NAMESPACES, read_namespace, lambda: enforcer.wake())
    policies = Follower(api, POLICIES, read_policy, lambda: enforcer.wake())

    def world() -> World | None:
        known = pods.objects(), namespaces.objects(), policies.objects()
        if known[0] is None or known[1] is None or known[2] is None:
            return None
        return World(known[0], known[1], known[2])

    def subnet() -> IPv4Network | None:
        own = (nodes() or {}).get(config.node_name)
        return own.pod_cidr if own else None

    enforcer = Enforcer(config.node_name, world, subnet, Nft(), files.policies, settled)
    for follower in (pods, namespaces, policies):
        follower.start()
    return enforcer


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    try:
        config = read_config(os.environ)
        api = Api.in_cluster()
    except (PodnetError, ApiError) as error:
        log.error("%s", error)
        return 2
    log.info("podnet on %s: pods %s, VNI %d, UDP %d", config.node_name, config.pod_cidr, config.vni, config.port)

    def publish(node: str, annotations: dict[str, str]) -> None:
        try:
            api.merge_patch(f"{NODES}/{node}", {"metadata": {"annotations": annotations}})
        except ApiError as error:
            raise PodnetError(f"cannot publish this node's VTEP: {error}") from error

    def nodes_changed() -> None:
        agent.wake()
        policies.wake()

    files = Files()
    nodes: Follower[Node] = Follower(api, NODES, read_node, nodes_changed)
    policies: Enforcer | SwitchedOff = (
        follow(api, nodes.objects, config, files, lambda: agent.wake())
        if config.enforce
        else SwitchedOff(Nft(), files.policies)
    )
    agent = Agent(config, nodes.objects, publish, policies.problem, Host(), files)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())
    nodes.start()
    policies.start()
    watch_kernel(agent.wake, policies.wake)
    agent.run()
    log.info("stopped; the node's network stays as it is")
    return 0


if __name__ == "__main__":
    sys.exit(main())
