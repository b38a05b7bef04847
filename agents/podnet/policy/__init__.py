"""Enforces networking.k8s.io/v1 NetworkPolicy on this node by nftables, in the table ``inet podnet``.

What the API server holds is reduced to what matters (:mod:`.objects`, :mod:`.reading`), a pure function makes the whole
table of it (:mod:`.ruleset`), and :mod:`.enforcer` loads that in one transaction, so that there is never half a policy.

What is left to know:

- Rules live in the kernel: they outlive the agent, not the node. After a boot no pod may start before they are back,
  so podnet writes the CNI configuration only after its first load, and the deploy has the file that an earlier boot
  left removed at boot. A container runtime that starts pods before systemd-tmpfiles has run, or a CNI configuration of
  somebody else in the same directory, would defeat that.
- Pods, namespaces and policies come by three watches. A policy made before a pod is normally here long before the pod
  has an address; while the watch of policies alone is broken (it is opened again after 0.5 to 5 s), a pod that is new
  in that time is judged by the policies known before.
- A pod that may send raw packets can put another's address on them. Replies do not reach it, but single datagrams are
  judged by the address that they bear.
- Between pods of one node rules see what br_netfilter shows them: the sysctls bridge-nf-call-iptables,
  bridge-nf-call-ip6tables and bridge-nf-filter-vlan-tagged must be 1, or IPv4, link-local IPv6, or frames that a pod
  tags as of VLAN 0 (measured: their receiver takes them as untagged) pass unseen. podnet warns where one is not.
"""
