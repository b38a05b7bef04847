"""Writes docs/walks.md: what `./inv trace` shows of four connections on the running lab.

    .venv/bin/python docs/pictures/walks.py

It sends one packet for each, on a lab with the demo and without policies.
"""

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "walks.md"
HEAD = """# Paths of packets, as they were traced

What `./inv trace` printed on the lab (podnet, three nodes, kube-proxy with iptables rules). The hops are predicted from
the state of the nodes; ✓ stands where one packet was sent and seen as predicted. This page is written by
`docs/pictures/walks.py`.
"""


def pods(app: str) -> list[tuple[str, str]]:
    """Pods of the demo whose names begin so, each with its node."""
    words = ["./inv", "kubectl", "--", "get", "pods", "-o", "json"]
    found = json.loads(subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    named = ((item["metadata"]["name"], item["spec"]["nodeName"]) for item in found["items"])
    return [(f"default/{name}", node) for name, node in named if name.startswith(app)]


def traced(*words: str) -> str:
    """The command and what it printed."""
    command = ["./inv", "trace", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    lines = [f"$ {' '.join(command)}", *done.stdout.rstrip().splitlines()]
    return "".join(f"    {line}".rstrip() + "\n" for line in lines)


def main() -> None:
    servers = pods("httpd")
    ways = ((client, node, pod) for client, node in pods("kuard") for pod, other in servers if other != node)
    client, node, far = next(ways)
    walks = (
        (
            "Pod to a pod of another node",
            "veth, bridge, route, ARP entry, FDB entry, UDP 8472, unwrapping, bridge, veth; and back.",
            (client, far, "--port", "80"),
        ),
        (
            "Pod to a Service",
            "DNAT to an endpoint, which kube-proxy chooses at random; the reply is translated back.",
            (client, "kuard"),
        ),
        (
            "A client outside to a NodePort",
            "Both translations: DNAT to an endpoint, and the node's own address as source.",
            ("outside", f"{node}:33000"),
        ),
        (
            "Pod to an address outside of the cluster",
            "Masquerading: the source becomes the node's address. Here it is the registry of the lab's mirror.",
            (client, "192.168.200.1", "--port", "5000"),
        ),
    )
    parts = [f"\n## {title}\n\n{text}\n\n{traced(*words)}" for title, text, words in walks]
    PAGE.write_text(HEAD + "".join(parts))


if __name__ == "__main__":
    main()
