"""Every program that is started on this machine, the nodes' and pods' too, which are processes of its kernel."""

import errno
import os
import socket
import struct
import threading
from pathlib import Path
from types import TracebackType

NETLINK_CONNECTOR = 11
CN_IDX_PROC, PROC_CN_MCAST_LISTEN = 1, 1
PROC_EVENT_EXEC = 2
NLMSG_DONE = 3
"""linux/netlink.h, linux/connector.h, linux/cn_proc.h"""
NLMSGHDR = struct.Struct("=IHHII")
CN_MSG = struct.Struct("=IIIIHH")
EVENT = struct.Struct("=II8xII")
"""What happened, on which CPU, when; then, of an exec, the thread and the process."""
SO_RCVBUFFORCE = 33
"""asm-generic/socket.h; not in Python's socket."""
RECEIVE_BUFFER = 8 << 20
POLL_SECONDS = 0.2
PRIORITY = -15


class Watcher:
    """Collects argv and environment of each program as it starts, as the kernel announces it, until the block ends.

    ``missed`` counts those that had ended before they could be read.
    """

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self.started = 0
        self.missed = 0
        self.overflows = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, NETLINK_CONNECTOR)

    def __enter__(self) -> "Watcher":
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        self._socket.bind((os.getpid(), CN_IDX_PROC))
        wish = CN_MSG.pack(CN_IDX_PROC, 1, 0, 0, 4, 0) + struct.pack("=I", PROC_CN_MCAST_LISTEN)
        self._socket.send(NLMSGHDR.pack(NLMSGHDR.size + len(wish), NLMSG_DONE, 0, 0, os.getpid()) + wish)
        self._socket.settimeout(POLL_SECONDS)
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        # Some programs last for milliseconds.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), PRIORITY)
        while not self._stopped.is_set():
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                continue
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self.overflows += 1
                continue
            what, _, _, process = EVENT.unpack_from(data, NLMSGHDR.size + CN_MSG.size)
            if what == PROC_EVENT_EXEC:
                self._look_at(process)

    def _look_at(self, process: int) -> None:
        self.started += 1
        try:
            self.seen.add(_text(f"/proc/{process}/cmdline"))
            self.seen.add(_text(f"/proc/{process}/environ"))
        except OSError:
            self.missed += 1


def _text(file: str) -> str:
    with Path(file).open("rb", buffering=0) as text:
        return text.read().replace(b"\0", b" ").decode(errors="replace")
