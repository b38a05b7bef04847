"""podnet, this project's own pod network (agents/podnet, templates/podnet.yaml.j2). Pure."""

from kubeproof.networks import network
from kubeproof.networks.network import VXLAN_OVERHEAD, Agent, Artifacts, Backend, Network
from kubeproof.state.policies import POLICY_TABLE

_CONFLIST = "10-podnet.conflist"
_FOLDER = "/run/podnet"

NETWORK = Network(
    name="podnet",
    title="podnet",
    summary="podnet, this project's own pod network, not flannel",
    backends=(
        Backend(
            "vxlan",
            # Named as flannel's, whatever the VNI.
            device="flannel.1",
            aspects=(
                *("subnet-env", "vxlan", "onlink-routes", "bridge"),
                *("rules-in-order", "iptables-policies", "podnet-policies"),
            ),
            overhead=VXLAN_OVERHEAD,
        ),
    ),
    agent=Agent(
        daemon_set="podnet",
        container="podnet",
        label=("app", "podnet"),
        pod_cidr_query="-n kube-system get daemonset podnet -o jsonpath="
        """'{range .spec.template.spec.containers[0].env[*]}{.name}={.value}{"\\n"}{end}'""",
        pod_cidr_pattern=r"^POD_CIDR=(\S+)$",
        environment="-n kube-system set env daemonset/podnet",
        announced_mac=lambda annotations: annotations.get("podnet.kubeproof.dev/vtep-mac"),
    ),
    artifacts=Artifacts(
        links=("cni0", "flannel.*"),
        directories=("/run/flannel", _FOLDER),
        evidence=("/run/flannel/subnet.env", "/var/lib/cni/networks/podnet"),
        chains=("PODNET-",),
        nft_tables=("podnet",),
    ),
    conflist=_CONFLIST,
    tmpfiles=f"""\
# After a boot no policies are in force until podnet has loaded them. Without its configuration kubelet starts no pod in
# the pod network; podnet writes it again as soon as the policies are in force. (r! removes at boot only, tmpfiles.d(5))
r! /etc/cni/net.d/{_CONFLIST}
""",
    effects={
        "podnet_image": network.IN_PODS,
        "cni_manifest": network.NOT_USED,
        "cni_manifest_sha256": network.NOT_USED,
        "cni_image_repository": network.nothing("podnet_image names its own"),
        "cni_interface": network.NOT_USED,
        "cni_mtu": network.NOT_USED,
        "cni_backend": network.NOT_USED,
        # The agent makes its link anew where one of the two differs.
        "vxlan_vni": network.IN_PODS,
        "vxlan_port": network.IN_PODS,
        "network_policy": network.IN_PODS,
    },
    image_settings=("podnet_image",),
    enforces=True,
    policy_table=POLICY_TABLE,
    policy_folder=_FOLDER,
)
