"""Cluster DNS where CoreDNS cannot be had: Debian's dnsmasq, and a watcher that tells it the cluster's names.

Served are A and PTR records of Services with a cluster IP, and of the ready endpoints of headless Services, after
the "Kubernetes DNS-Based Service Discovery" specification 1.1.0. Not served: SRV records, ExternalName, pod records.
"""
