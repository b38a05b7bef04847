"""Loads and looks at podnet's nftables table on this node."""

import socket
import struct
import subprocess

from agents.podnet.plan import PodnetError
from agents.podnet.policy.table import FAMILY_AND_NAME

SECONDS = 30
"""How long one call of nft may take before it counts as failed; 1,000 pods and 200 policies need less than one."""
NETLINK_NETFILTER = 12
NFT_MSG_GETGEN = 10 << 8 | 16
"""NFNL_SUBSYS_NFTABLES and NFT_MSG_GETGEN (linux/netfilter/nfnetlink.h, nf_tables.h)."""
NLM_F_REQUEST = 1
NFTA_GEN_ID = 1
MESSAGE = struct.Struct("=IHHIIBBH")
"""nlmsghdr (length, type, flags, sequence, port) and nfgenmsg (family, version, resource)."""
ATTRIBUTE = struct.Struct("=HH")
KIND_MASK = 0x3FFF
"""Without the flags for nested attributes and network byte order (linux/netlink.h, NLA_TYPE_MASK)."""


class Nft:
    """Debian's nft, and the kernel's generation of nftables."""

    def load(self, text: str) -> None:
        """Apply commands in one transaction: all of them, or PodnetError with nft's message."""
        _run(["-f", "-"], text)

    def check(self, text: str) -> None:
        """Whether the kernel and nft could load this; PodnetError with nft's message if not."""
        _run(["--check", "-f", "-"], text)

    def listing(self) -> str | None:
        """The table as the kernel has it, None if it is not there."""
        try:
            return _run(["--stateless", "list", "table", *FAMILY_AND_NAME.split()])
        except PodnetError as problem:
            if "No such file or directory" in str(problem):
                return None
            raise

    def delete(self) -> bool:
        """Delete the table; whether there was one."""
        if self.listing() is None:
            return False
        _run(["delete", "table", *FAMILY_AND_NAME.split()])
        return True

    def generation(self) -> int:
        """A number that grows by one with every transaction on this node's nftables, whoever makes it."""
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as kernel:
            kernel.settimeout(SECONDS)
            kernel.sendto(MESSAGE.pack(MESSAGE.size, NFT_MSG_GETGEN, NLM_F_REQUEST, 0, 0, 0, 0, 0), (0, 0))
            return read_generation(kernel.recv(4096))


def read_generation(answer: bytes) -> int:
    """The generation in the kernel's answer to NFT_MSG_GETGEN. Raises PodnetError if there is none in it."""
    number = attribute(answer, MESSAGE.size, NFTA_GEN_ID)
    if number is None:
        raise PodnetError("the kernel does not tell the generation of its nftables: has it nf_tables?")
    return int.from_bytes(number, "big")


def attribute(message: bytes, offset: int, wanted: int) -> bytes | None:
    """An attribute of a netlink message, whose attributes begin at an offset; None if it has none of that kind."""
    while offset + ATTRIBUTE.size <= len(message):
        length, kind = ATTRIBUTE.unpack_from(message, offset)
        if length < ATTRIBUTE.size:
            break
        if kind & KIND_MASK == wanted:
            return message[offset + ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3
    return None


def _run(words: list[str], text: str | None = None) -> str:
    command = ["nft", *words]
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise PodnetError(f"{' '.join(command)}: no answer within {SECONDS} s") from error
    except OSError as error:
        raise PodnetError(f"{' '.join(command)}: {error.strerror}: is nftables installed?") from error
    if done.returncode != 0:
        raise PodnetError(f"{' '.join(command)}: {_first_lines(done.stderr) or f'exit code {done.returncode}'}")
    return done.stdout


def _first_lines(text: str) -> str:
    """nft repeats the offending rule, which may have thousands of elements, with every message."""
    lines = [line.strip()[:300] for line in text.splitlines() if "Error" in line or "error" in line]
    return "; ".join(lines[:3] or [text.strip()[:300]])
