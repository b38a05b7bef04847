"""Hosts that exist only in the answers of a FakeCluster; the first is the control plane."""

import json
import os

_hosts = json.loads(os.environ["FAKE_CLUSTER_HOSTS"])
_entries = [(name, {"address": address}) for name, address in _hosts.items()]
control_plane, workers = _entries[:1], _entries[1:]
