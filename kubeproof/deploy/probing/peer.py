"""Runs on hosts with Python 3.6 or newer, as peer.pl does on those with Perl: sends each other host a packet every
tenth of a second and listens for theirs, until all have heard all, or the time is over. Prints from when to
when that was, by this host's clock, and who was heard.

peer.py NAME listen|watch PORT SECONDS NAME=ADDRESS...

A packet is eight zero bytes, which no VXLAN link takes for one of its own (RFC 7348: the I flag is not set), and a line
of words: kubeproof FROM TO, and the names of those that FROM has heard.
"""

import contextlib
import select
import socket
import sys
import time

MARK = b"\0" * 8 + b"kubeproof "
IPV4 = 0x0800
UDP = 17

own, mode = sys.argv[1:3]
port, seconds = int(sys.argv[3]), float(sys.argv[4])
peers = dict(word.split("=") for word in sys.argv[5:])
heard: "set[str]" = set()
heard_by: "set[str]" = set()
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if mode == "listen":
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("", port))
else:
    receiver = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(IPV4))


def send() -> None:
    for name, address in peers.items():
        words = " ".join([own, name, *sorted(heard)])
        # A firewall of the host's own may refuse; then nobody hears it, which is what is asked.
        with contextlib.suppress(OSError):
            sender.sendto(MARK + words.encode(), (address, port))


def payload(packet: bytes) -> bytes:
    """What a raw packet carries to the port; a socket of the port gives nothing else."""
    if mode == "listen":
        return packet
    start = (packet[0] & 15) * 4
    to_port = packet[9] == UDP and int.from_bytes(packet[start + 2 : start + 4], "big") == port
    return packet[start + 8 :] if to_port else b""


def receive() -> None:
    text = payload(receiver.recv(65535))
    if not text.startswith(MARK):
        return
    words = text[len(MARK) :].decode("ascii", "replace").split()
    if len(words) > 1 and words[0] in peers and words[1] == own:
        heard.add(words[0])
        if own in words[2:]:
            heard_by.add(words[0])


began, begin = time.time(), time.monotonic()
end = begin + seconds
next_round = 0.0
while time.monotonic() < end and not heard == heard_by == set(peers):
    if time.monotonic() >= next_round:
        send()
        next_round = time.monotonic() + 0.1
    if select.select([receiver], [], [], max(0.0, next_round - time.monotonic()))[0]:
        receive()
# The others may not have heard yet that they were heard.
for _ in range(3):
    send()
print(f"window {began:.3f} {began + time.monotonic() - begin:.3f}")
for name in sorted(heard):
    print("heard " + name)
print("done")
