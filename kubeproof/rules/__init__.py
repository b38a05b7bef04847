"""The rulebook: what must hold of hosts and nodes, each rule once, wherever it is asked. Pure."""
