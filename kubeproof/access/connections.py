"""Connections to hosts that end when the host, or the way to it, is gone: otherwise a deploy would wait for ever."""

import socket

from pyinfra.api.host import Host

from kubeproof.config.patience import patient

ALIVE_SECONDS = 5
"""How often an idle connection is used, so that its end is noticed."""
DEAD_SECONDS = 20
"""How long what was sent may stay unanswered. A host that reboots or a cable that is moved takes longer, a switch that
learns its ports anew does not."""
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
"""Milliseconds (tcp(7)); Linux only. Elsewhere the kernel's own patience counts, which is minutes."""


def guard(host: Host) -> None:
    """Have the connection to a host end soon after it stops to answer; then what waits for the host fails."""
    transport = _transport(host)
    if transport is None:
        return
    transport.set_keepalive(ALIVE_SECONDS)
    if _TCP_USER_TIMEOUT is not None and isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, int(patient(DEAD_SECONDS) * 1000))


def is_lost(host: Host) -> bool:
    """Whether there was a connection by SSH that has ended."""
    transport = _transport(host)
    return transport is not None and not transport.is_active()


def _transport(host: Host):  # type: ignore[no-untyped-def]
    """Paramiko's, of which there are no types; None for hosts that are reached otherwise."""
    client = getattr(host.connector, "client", None)
    return client.get_transport() if client else None
