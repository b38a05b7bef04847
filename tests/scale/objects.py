"""Objects of a large cluster, about as large as real ones: what agents read of them is a small part."""

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from tests.scale import policy_scale

Json = dict[str, Any]
NODE_NETWORK = IPv4Network("172.16.0.0/16")
POD_CIDR = IPv4Network("10.64.0.0/12")
"""Room for 4,096 nodes."""
PODS_OF_A_NODE = 10
MOMENT = "2026-01-01T00:00:00Z"


def node_name(number: int) -> str:
    return f"node{number}"


def node_address(number: int) -> IPv4Address:
    return NODE_NETWORK[number + 1]


def node_subnet(number: int) -> IPv4Network:
    return IPv4Network((int(POD_CIDR.network_address) + number * 256, 24))


def make_node(number: int, mac: bool = True) -> Json:
    """A Node; with ``mac`` its podnet has published its VTEP."""
    subnet, name = str(node_subnet(number)), node_name(number)
    vtep = {
        "podnet.kubeproof.dev/vtep-mac": f"02:00:00:00:{number >> 8:02x}:{number & 255:02x}",
        "podnet.kubeproof.dev/public-ip": str(node_address(number)),
    }
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    item: Json = {
        "metadata": {"name": name, "labels": labels, "annotations": vtep if mac else {}, "uid": uid(number)},
        "spec": {"podCIDR": subnet, "podCIDRs": [subnet]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": str(node_address(number))},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [
                {"type": kind, "status": "False", "lastHeartbeatTime": MOMENT, "lastTransitionTime": MOMENT}
                for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
            ],
            "capacity": {"cpu": "8", "memory": "32Gi", "pods": "110", "ephemeral-storage": "100Gi"},
            "images": [
                {"names": [f"registry.example/images/{each}@sha256:{'0' * 60}{each:04}"], "sizeBytes": 100_000_000}
                for each in range(50)
            ],
            "nodeInfo": {"kernelVersion": "6.1.0", "kubeletVersion": "v1.20.2", "osImage": "Debian GNU/Linux 12"},
        },
    }
    return with_managed_fields(item)


def make_pod(number: int, nodes: int, address: int | None = None) -> Json:
    """A Pod with labels and ports as in :mod:`.policy_scale`; its address is the node's ``address``-th, from 0 on."""
    item = policy_scale.make_pod(number)
    node, place = number % nodes, number // nodes if address is None else address
    found = str(node_subnet(node)[place + 2])
    main = item["spec"]["containers"][0]
    item["metadata"] |= {"uid": uid(number), "creationTimestamp": MOMENT, "generateName": "pod"}
    item["spec"] |= {
        "nodeName": node_name(node),
        "containers": [{**main, **_container()}, {"name": "sidecar", **_container()}],
        "volumes": [{"name": "token", "secret": {"secretName": "default-token", "defaultMode": 420}}],
        "tolerations": [{"key": f"node.kubernetes.io/{kind}", "effect": "NoExecute"} for kind in ("a", "b")],
    }
    item["status"] = {
        "phase": "Running",
        "podIP": found,
        "podIPs": [{"ip": found}],
        "hostIP": str(node_address(node)),
        "startTime": MOMENT,
        "conditions": [
            {"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": MOMENT}
            for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        ],
        "containerStatuses": [
            {
                "name": name,
                "containerID": f"containerd://{'0' * 64}",
                "imageID": f"registry.example/images/main@sha256:{'0' * 64}",
                "restartCount": 0,
                "state": {"running": {"startedAt": MOMENT}},
            }
            for name in ("main", "sidecar")
        ],
    }
    return with_managed_fields(item)


def _container() -> Json:
    probe = {"httpGet": {"path": "/healthy", "port": 8080, "scheme": "HTTP"}, "periodSeconds": 10, "timeoutSeconds": 1}
    return {
        "image": f"registry.example/images/main@sha256:{'0' * 64}",
        "env": [{"name": f"SETTING_{each}", "value": "a value of some length"} for each in range(10)],
        "livenessProbe": probe,
        "readinessProbe": probe,
        "resources": {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}},
        "volumeMounts": [{"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
    }


def uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


def with_managed_fields(item: Json) -> Json:
    """As the API server keeps who set which field; it is about half of an object."""
    parts = [{name: value for name, value in item.items() if (name == "status") is status} for status in (False, True)]
    item["metadata"]["managedFields"] = [
        {"manager": "kubelet", "operation": "Update", "time": MOMENT, "fieldsV1": _fields(part)} for part in parts
    ]
    return item


def _fields(value: Any) -> Json:
    if isinstance(value, dict):
        return {f"f:{name}": _fields(each) for name, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict) and "name" in value[0]:
        return {f'k:{{"name":"{each["name"]}"}}': {".": {}, **_fields(each)} for each in value}
    return {}
