"""Three hosts that exist only in the answers of a FakeCluster."""

control_plane = [("master", {"address": "192.0.2.11"})]
workers = [("node1", {"address": "192.0.2.12"}), ("node2", {"address": "192.0.2.13"})]
