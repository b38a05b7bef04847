"""podnet: a node agent small enough to read. It joins the pods of all nodes into one network by VXLAN.

On the host it keeps flannel's contract (subnet.env, flannel.1, cni0, routes, FDB, ARP, iptables rules); it is not
flannel. What should be is computed by pure functions (:mod:`.plan`), compared with what is (:mod:`.differences`,
:mod:`.rules`), and only the differences are applied (:mod:`.host`).

NetworkPolicy is enforced by the subpackage :mod:`.policy` in a thread of its own, with nftables.
"""
