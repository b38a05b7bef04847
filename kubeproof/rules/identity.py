"""Rules of what tells nodes apart: hostname, machine-id, product UUID. Pure."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import attrgetter

from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.result import Outcome, Remedy
from kubeproof.rules.rule import rule
from kubeproof.state.hostfiles import Identity

identity_rule = partial(rule, references="kubeadm#31", needs=("identity",), before_deploy="error")
NEW_MACHINE_ID = "tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id"
"""A random one: systemd-machine-id-setup would take a clone's from what it was cloned with."""


def duplicates(values: Mapping[str, str]) -> dict[str, list[str]]:
    """Each value that several hosts have, with their names in the order given. Empty values are not known."""
    by_value: dict[str, list[str]] = defaultdict(list)
    for name, value in values.items():
        if value:
            by_value[value].append(name)
    return {value: names for value, names in by_value.items() if len(names) > 1}


def _of_its_own(context: Context, what: str, value: Callable[[Identity], str]) -> Outcome:
    own = context.state.identity
    if not own.hostname:
        raise UndecidedError("what identifies the node was not read")
    sharing = [name for name in _sharing(context, value) if name != context.node.name]
    found = f"{what} {value(own)} is that of {', '.join(sharing)} too" if sharing else f"a {what} of its own"
    return Outcome(not sharing, f"a {what} of its own", found)


def _sharing(context: Context, value: Callable[[Identity], str]) -> list[str]:
    """Nodes that have the value of this one, with it, in the order of the inventory."""
    read = {node.name: context.states[node.name] for node in context.cluster.nodes if node.name in context.states}
    known = {name: state.identity for name, state in read.items()}
    shared = duplicates({name: value(identity) for name, identity in known.items()})
    return next((names for names in shared.values() if context.node.name in names), [])


def _has_to_change(context: Context, value: Callable[[Identity], str]) -> bool:
    """Whether it is this node that needs another value: the one that is called so keeps it, else the first."""
    sharing, own = _sharing(context, value), context.state.identity
    owner = value(own)
    return context.node.name != (owner if owner in sharing else next(iter(sharing), context.node.name))


_hostname: Callable[[Identity], str] = attrgetter("hostname")
_machine_id: Callable[[Identity], str] = attrgetter("machine_id")


def _product_uuid(identity: Identity) -> str:
    """Containers are left out: they all show their machine's."""
    return "" if identity.container else identity.product_uuid


def _rename(context: Context, _: Outcome) -> Iterator[str]:
    if _has_to_change(context, _hostname):
        yield f"echo {context.node.name} >/etc/hostname && hostname {context.node.name}"


def _new_machine_id(context: Context, _: Outcome) -> Iterator[str]:
    of_dbus = "{ [ ! -d /var/lib/dbus ] || ln -sf /etc/machine-id /var/lib/dbus/machine-id; }"
    if _has_to_change(context, _machine_id):
        yield f"{NEW_MACHINE_ID} && {of_dbus} && systemctl restart kubelet"


def _new_uuid(context: Context, _: Outcome) -> Iterator[Remedy]:
    name = context.node.name
    command = f"virt-xml {name} --edit --metadata uuid=$(cat /proc/sys/kernel/random/uuid)"
    if _has_to_change(context, _product_uuid):
        yield Remedy(name, command, "hypervisor")


@identity_rule(
    "no two hosts call themselves the same",
    symptom="two nodes become one, or fight over one node object",
    meaning="kubelet registers under the hostname, so the second node takes the first one's node object over",
    look="hostname",
    remedies=_rename,
)
def duplicate_hostname(context: Context) -> Outcome:
    """The node whose name in the inventory is another one has the wrong one."""
    return _of_its_own(context, "hostname", _hostname)


@identity_rule(
    "no two hosts have one machine-id",
    symptom="two nodes become one, or fight: the same DHCP lease, the same node in what tells nodes by it",
    meaning="the machine was cloned with its /etc/machine-id, which has to be unique",
    look="cat /etc/machine-id",
    remedies=_new_machine_id,
)
def duplicate_machine_id(context: Context) -> Outcome:
    """All but the first get a new one."""
    return _of_its_own(context, "machine-id", _machine_id)


@identity_rule(
    "no two machines have one product UUID; containers share their machine's",
    symptom="two nodes become one for what tells machines by their UUID, such as storage and cloud controllers",
    meaning="the virtual machine was cloned with its UUID; kubeadm's documentation wants it to be unique",
    look="cat /sys/class/dmi/id/product_uuid",
    remedies=_new_uuid,
)
def duplicate_product_uuid(context: Context) -> Outcome:
    """All but the first get a new one."""
    return _of_its_own(context, "product_uuid", _product_uuid)
