"""Manifests built as the published ones are, as small as they can be: for tests that have to run everywhere."""

FLANNEL = """
apiVersion: v1
kind: Namespace
metadata: {name: kube-flannel}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: kube-flannel-cfg, namespace: kube-flannel}
data:
  cni-conf.json: '{"plugins": [{"type": "flannel", "delegate": {}}, {"type": "portmap"}]}'
  net-conf.json: |
    {"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: kube-flannel-ds, namespace: kube-flannel}
spec:
  template:
    spec:
      hostNetwork: true
      initContainers:
      - name: install-cni-plugin
        image: example.net/flannel-io/plugin:v1
        volumeMounts: [{name: cni-plugin, mountPath: /opt/cni/bin}]
      containers:
      - name: kube-flannel
        image: example.net/flannel-io/flannel:v1
        args: [--ip-masq]
        ports: [{containerPort: 8081}]
      volumes:
      - {name: cni-plugin, hostPath: {path: /opt/cni/bin}}
"""
CANAL = """
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: calico-kube-controllers, namespace: kube-system}
spec: {maxUnavailable: 1, selector: {matchLabels: {k8s-app: calico-kube-controllers}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: canal-config, namespace: kube-system}
data:
  canal_iface: ""
  veth_mtu: "0"
  cni_network_config: |-
    {"plugins": [{"type": "calico", "mtu": __CNI_MTU__, "ipam": {"type": "host-local"}, "node": "__NODE_NAME__"}]}
  net-conf.json: '{"Network": "10.244.0.0/16", "Backend": {"Type": "vxlan"}}'
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: canal, namespace: kube-system}
spec:
  template:
    spec:
      hostNetwork: true
      initContainers:
      - name: install-cni
        image: docker.io/calico/cni:v1
        volumeMounts: [{name: cni-bin-dir, mountPath: /host/opt/cni/bin}]
      containers:
      - {name: calico-node, image: 'docker.io/calico/node:v1', env: [{name: IP, value: ""}]}
      - name: kube-flannel
        image: docker.io/flannel/flannel:v1
        env:
        - {name: FLANNELD_IFACE, valueFrom: {configMapKeyRef: {name: canal-config, key: canal_iface}}}
      volumes:
      - {name: cni-bin-dir, hostPath: {path: /opt/cni/bin}}
"""
CALICO = """
apiVersion: v1
kind: ConfigMap
metadata: {name: calico-config, namespace: kube-system}
data:
  calico_backend: bird
  veth_mtu: "0"
  cni_network_config: |-
    {"plugins": [{"type": "calico", "mtu": __CNI_MTU__, "ipam": {"type": "calico-ipam"}, "node": "__NODE_NAME__"}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: calico-node, namespace: kube-system}
spec:
  template:
    spec:
      hostNetwork: true
      initContainers:
      - name: install-cni
        image: docker.io/calico/cni:v1
        volumeMounts: [{name: cni-bin-dir, mountPath: /host/opt/cni/bin}]
      containers:
      - name: calico-node
        image: docker.io/calico/node:v1
        env:
        - {name: IP, value: autodetect}
        - {name: CALICO_IPV4POOL_IPIP, value: Always}
        - {name: CALICO_IPV4POOL_VXLAN, value: Never}
        readinessProbe: {exec: {command: [/bin/calico-node, -felix-ready, -bird-ready]}}
      volumes:
      - {name: cni-bin-dir, hostPath: {path: /opt/cni/bin}}
"""
