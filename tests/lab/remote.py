"""Commands on the lab's hosts, and kubectl on the control plane host."""

import subprocess

from lab.paths import SSH_CONFIG
from lab.settings import load

KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf"


def ssh(name: str, command: str, *, stdin: str = "") -> str:
    """Run shell text on a host, which must succeed, and return what it printed."""
    done = subprocess.run(
        ["ssh", "-F", SSH_CONFIG, name, command], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{name}: {command}: {done.stderr}"
    return done.stdout.strip()


def kubectl_process(words: str) -> "subprocess.Popen[str]":
    """Start kubectl with shell words; what it prints, both streams together, is its stdout."""
    return subprocess.Popen(
        ["ssh", "-F", SSH_CONFIG, load().nodes[0].name, f"{KUBECTL} {words}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def python_in_pod(pod: str, script: str, *arguments: str) -> "subprocess.Popen[str]":
    """Start a script in a pod; that its stdin is at its end tells it that it has done enough."""
    words = " ".join(arguments)
    process = kubectl_process(f"exec -i {pod} -- python3 -c 'import sys; exec(eval(sys.stdin.readline()))' {words}")
    assert process.stdin
    process.stdin.write(f"{script!r}\n")
    process.stdin.flush()
    return process


def kubectl(words: str, *, stdin: str = "") -> str:
    """Run kubectl with shell words."""
    return ssh(load().nodes[0].name, f"{KUBECTL} {words}", stdin=stdin)


def forget_attempts() -> None:
    """Have the nodes forget connections that were begun and not answered.

    What is sent to a Service while its rules are missing is not translated, and for two minutes
    (nf_conntrack_tcp_timeout_syn_sent) nothing is that comes from the same port. Linux chooses other ports at random
    every ten seconds (EPHEMERAL_PORT_SHUFFLE_PERIOD): now and then a client meets those again, and loses a third of
    what it sends for some seconds.
    """
    for node in load().nodes:
        ssh(node.name, "conntrack -D -p tcp --state SYN_SENT >/dev/null 2>&1 || true")
