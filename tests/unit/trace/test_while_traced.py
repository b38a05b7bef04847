"""What is read of nftables while another packet is watched there: nft 1.0.6 cannot print a table that has an owner."""

import json
import shutil
import subprocess
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kubeproof.node.parts import parts
from kubeproof.state.foreign import TRACE_TABLE, parse_nft
from kubeproof.state.part import Asker
from kubeproof.trace.collecting import COMMANDS
from kubeproof.trace.marked_packet import MarkedPacket
from kubeproof.trace.model import Packet
from kubeproof.trace.watching import rules

pytestmark = pytest.mark.netns
OTHERS = "table ip of-others { chain a { type filter hook forward priority 0; drop; }; }"
PACKET = Packet("tcp", IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"), 61000, 80)


HOLDING = f"""
    nft '{OTHERS}'
    (printf '%s\\nlist tables\\n' "$1"; exec sleep 20) | nft -i >/dev/null 2>&1 &
    n=0; until nft list tables | grep -q {TRACE_TABLE}; do n=$((n + 1)); [ $n -lt 100 ] || exit 9; sleep 0.05; done
"""
"""In a network namespace: somebody watches there, and there is a table of somebody else."""


def run(script: str, *words: str) -> str:
    """In namespaces of its own, whose processes end with it."""
    if not shutil.which("nft"):
        pytest.skip("there is no nft")
    alone = ["unshare", "--net", "--pid", "--kill-child", "--mount-proc", "sh", "-c", script, "sh"]
    table = rules([MarkedPacket(PACKET, b"abcd", 1)], f"{TRACE_TABLE}61626364", (8472,))
    return subprocess.run([*alone, table, *words], capture_output=True, text=True, check=True, timeout=30).stdout


def names(lines: list[str]) -> list[str]:
    return [item["table"]["name"] for line in lines for item in json.loads(line)["nftables"] if "table" in item]


def test_of_a_node_the_tables_of_others_are_read() -> None:
    assert names(run(f'{HOLDING} sh -c "$2"', COMMANDS["nft"]).splitlines()) == ["of-others"]


def test_the_doctor_reads_them_too() -> None:
    (command,) = (part.text for part in parts(Asker.DOCTOR) if part.field == "nft_rules")
    assert [rule.table for rule in parse_nft(run(f'{HOLDING} sh -c "$2"', command))] == ["of-others"]


def test_a_pod_is_read_though_the_process_it_was_found_by_ends(tmp_path: Path) -> None:
    """As programs of another trace do, whose numbers may be lower than that of the pod's own."""
    first = tmp_path / "first"
    ip = tmp_path / "ip"
    ip.write_text(f'#!/bin/sh\nkill -KILL $(cat {first})\nexec {shutil.which("ip")} "$@"\n')
    ip.chmod(0o755)
    script = f"""
    unshare --net sh -c 'echo $$ >{first}
        {HOLDING.replace("'", '"')}
        touch {first}.done; exec sleep 20' sh "$1" &
    n=0; until [ -e {first}.done ]; do n=$((n + 1)); [ $n -lt 100 ] || exit 9; sleep 0.05; done
    PATH={tmp_path}:$PATH sh -c "$2"
    """
    (line,) = run(script, COMMANDS["namespaces"]).splitlines()
    found = json.loads(line)
    assert (names(found["nft"]), [each["ifname"] for each in found["links"]]) == (["of-others"], ["lo"])
