"""One packet captured between two nodes: the command that captures it, and the judgement on its headers. Pure."""

import base64
import binascii
from collections.abc import Callable

from kubeproof.proof.probe import FailedError, compared
from kubeproof.rules.context import UndecidedError
from kubeproof.state.collector import Output
from kubeproof.state.errors import ParseError
from kubeproof.state.packets import INNER_PROTOCOL, SNAPSHOT_BYTES, Ends, tunnelled_echoes

NO_CAPTURE = 98
"""Exit code of the command where tcpdump did not come up."""
REPETITIONS = 2
"""How often a packet of 56 bytes of data holds the doubled nonce, of 8 bytes, behind the time stamp of 16."""
POLLS = 60
"""Looks at what tcpdump has written, 0.05 s apart, before giving up."""


def capture_command(*, interface: str, port: int, nodes: Ends, ping: str, nonce: str) -> str:
    """Shell text: capture ICMP inside VXLAN between two nodes, send a ping, print the capture as base64.

    ``ping`` fills its packets with ``nonce`` (8 letters or digits), by which they are found again. It starts when
    tcpdump says that it listens; capturing ends when request and reply are there, or with a deadline. tcpdump stays
    root, since the user that it would become may not exist where its package was not configured.
    """
    first, second = nodes
    return f"""
command -v tcpdump >/dev/null || {{ echo "tcpdump: not found" >&2; exit 127; }}
d=$(mktemp -d) || exit {NO_CAPTURE}; tcpdump=
trap '[ -z "$tcpdump" ] || kill $tcpdump 2>/dev/null; rm -rf "$d"' EXIT
tcpdump -i {interface} -n -s {SNAPSHOT_BYTES} --immediate-mode -Z root -U -w - \\
  'udp dst port {port} and host {first} and host {second} and {INNER_PROTOCOL} = 1' >"$d/c.pcap" 2>"$d/err" & tcpdump=$!
alive() {{ kill -0 $tcpdump 2>/dev/null; }}
poll() {{ n=0; until "$@"; do n=$((n + 1)); [ $n -le {POLLS} ] && alive || return 1; sleep 0.05; done; }}
listens() {{ grep -q 'listening on' "$d/err"; }}
both() {{ [ "$(grep -ao {nonce}{nonce} "$d/c.pcap" | wc -l)" -ge {2 * REPETITIONS} ]; }}
poll listens || {{ cat "$d/err" >&2; exit {NO_CAPTURE}; }}
{ping} >"$d/ping" 2>&1; code=$?; echo "ping $code"
[ $code -ne 0 ] || poll both
kill -INT $tcpdump; wait $tcpdump; tcpdump=
base64 "$d/c.pcap"
"""


def judge_capture(*, nonce: bytes, nodes: Ends, pods: Ends, port: int, vni: int) -> Callable[[Output], str]:
    """Both directions must be there: outer node to node, inner pod to pod with addresses unchanged."""
    expected = {_shown(nodes, port, vni, pods, "request"), _shown(nodes[::-1], port, vni, pods[::-1], "reply")}

    def judge(output: Output) -> str:
        if output.code != 0:
            raise UndecidedError(f"the capture did not work: {output.last_words}")
        first, _, encoded = output.out.partition("\n")
        try:
            echoes = tunnelled_echoes(base64.b64decode(encoded), nonce)
        except (ParseError, binascii.Error) as error:
            raise UndecidedError(f"the capture cannot be read: {error}") from None
        found = {
            _shown(
                packet.outer.ends, packet.port, packet.vni, packet.inner.ends, "request" if echo.is_request else "reply"
            )
            for packet, echo in echoes
        }
        if not found:
            raise FailedError(f"no such packet between the nodes ({first.replace('ping ', 'ping ended with ')})")
        return compared(found == expected, "\n".join(sorted(found)))

    return judge


def _shown(outer: Ends, port: int, vni: int, inner: Ends, kind: str) -> str:
    return f"{outer[0]} > {outer[1]} UDP {port} VNI {vni} around {inner[0]} > {inner[1]} echo {kind}"
