"""Hosts from Terraform or Ansible, for an inventory file of this project: each tool's own program is asked.

    control_plane = terraform("~/infrastructure", "control_plane")
    workers = ansible("~/ansible/hosts.yml", "kube_node")

Whatever is wrong ends the program with one line, as inventory files do.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import chdir
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any

from pyinfra.api.exceptions import PyinfraError
from pyinfra.connectors.terraform import TerraformInventoryConnector

from kubeproof.config import reading
from kubeproof.config.connection_data import OTHER_WORDS
from kubeproof.terminal.errors import UserError
from kubeproof.terminal.exits import ending_cleanly

Hosts = list[tuple[str, dict[str, object]]]

SECONDS = 50
"""How long Ansible's program may take; an inventory file may take a minute in all."""
TERRAFORM_NAME = "@terraform/"
TAKEN = frozenset({"address", "ssh_hostname", "ssh_user", "ssh_port", "ssh_key", "_sudo"})
"""What is taken of Ansible's variables, by this project's names. Passwords are not: what asks for one is answered on
the terminal."""

TRUE = ("true", "yes", "on", "1", "t", "y")
"""What Ansible takes for true, in any case."""


def terraform(folder: str, output: str) -> Hosts:
    """The hosts that an output of the Terraform configuration in ``folder`` lists, by pyinfra's own connector.

    The output is a list of objects with `name`, `address` (IPv4) and what else pyinfra's ssh connector reads, such as
    `ssh_user`. The program `terraform` is run there, and has to be initialised.
    """
    path = Path(folder).expanduser()
    where = f"Terraform's output {output} in {path}"
    with ending_cleanly():
        if not path.is_dir():
            raise UserError(f"{path}: is no folder, name the one of your Terraform configuration")
        try:
            with chdir(path):  # terraform(1) works where it is started
                found = list(TerraformInventoryConnector.make_names_data(f"{output}.value"))
        except PyinfraError as error:
            raise UserError(f"{where}: {_one_line(error)}") from None
        except ValueError as error:
            raise UserError(f"{where}: `terraform output -json` gives no JSON ({_one_line(error)})") from None
        return _checked(where, [(name.removeprefix(TERRAFORM_NAME), data) for name, data, _ in found])


def ansible(file: str, group: str) -> Hosts:
    """The hosts of a group of an Ansible inventory of any kind, those of its groups included: by `ansible-inventory`.

    pyinfra 3 has no connector for it. Of their variables those are taken that say how a host is reached, under each of
    their usual names; the address is that of `ip`, `access_ip` or `private_ip`, else `ansible_host` or the host's name.
    """
    path = Path(file).expanduser()
    where = f"Ansible's group {group} in {path}"
    with ending_cleanly():
        inventory = _ansible_inventory(path)
        if group not in inventory:
            groups = ", ".join(sorted(set(inventory) - {"_meta", "all"}))
            raise UserError(f"{where}: no such group, use one of {groups or 'all'}")
        variables = inventory["_meta"]["hostvars"]
        names = dict.fromkeys(_members(inventory, group))
        return _checked(where, [(name, _translated(variables.get(name, {}))) for name in names])


def _ansible_inventory(path: Path) -> dict[str, Any]:
    """What `ansible-inventory --list` prints of a file. Raises UserError."""
    if not path.exists():
        raise UserError(f"{path}: no such file, name an inventory of Ansible's")
    # A file that it cannot read is a warning by default.
    env = {**os.environ, "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true", "ANSIBLE_NOCOLOR": "1"}
    command = ["ansible-inventory", "--inventory", str(path), "--list"]
    try:
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode:
            raise UserError(f"{path}: ansible-inventory cannot read it ({_one_line(done.stderr)})")
        return dict(json.loads(done.stdout))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no program ansible-inventory, install Ansible on this machine") from None
    except subprocess.TimeoutExpired:
        raise UserError(f"{path}: ansible-inventory has not ended within {SECONDS} s, see what it waits for") from None
    except ValueError as error:
        raise UserError(f"{path}: ansible-inventory gives no JSON ({_one_line(error)})") from None


def _members(inventory: Mapping[str, Any], group: str) -> Iterator[str]:
    """Names of a group's hosts and of those of the groups in it. Ansible refuses groups that hold each other."""
    entry = inventory.get(group, {})
    yield from entry.get("hosts", ())
    for child in entry.get("children", ()):
        yield from _members(inventory, child)


def _translated(variables: Mapping[str, object]) -> dict[str, object]:
    """A host's variables by this project's names; of several that mean the same, the one that OTHER_WORDS has first."""
    data = {name: variables[name] for name in TAKEN if name in variables}
    for word, name in OTHER_WORDS.items():
        if name in TAKEN and word in variables:
            data.setdefault(name, variables[word])
    if isinstance(become := data.get("_sudo"), str):  # an INI file has no other type
        data["_sudo"] = become.lower() in TRUE
    return data


def _checked(where: str, hosts: Hosts) -> Hosts:
    """With an address for those that say only what ssh connects to, which may be one. Raises UserError for no host."""
    if not hosts:
        raise UserError(f"{where}: has no hosts")
    for name, data in hosts:
        reached_at = str(data.get("ssh_hostname", name))
        if "address" not in data and _is_address(reached_at):
            data["address"] = reached_at
    return hosts


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except AddressValueError:
        return False
    return True


def _one_line(error: object) -> str:
    return reading.printable(" ".join(str(error).split()))[:300]
