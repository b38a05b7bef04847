"""What names, labels and networks may look like in the API (k8s.io/apimachinery, util/validation)."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network

MAX_PORT = 65535

_LABEL = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(_LABEL)
_DNS_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_QUALIFIED = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_PORT_NAME = re.compile(r"(?=[-0-9]*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*")
_CIDR = re.compile(r"[0-9a-fA-F:.]+/(?:0|[1-9][0-9]{0,2})")

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
PORT_NAME_LENGTH = 15

NO_DNS_LABEL = (
    "is no name; use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends (RFC 1123)"
)
NO_DNS_SUBDOMAIN = (
    "is no name; use at most 253 lower-case letters, digits, hyphens and dots, with a letter or digit at both ends "
    "(RFC 1123)"
)
NO_LABEL_KEY = "is no label key; write it as [domain/]name, the name of at most 63 letters, digits, '-', '_' and '.'"
NO_LABEL_VALUE = (
    "is no label value; use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends"
)
NO_PORT_NAME = "is no port name; use at most 15 lower-case letters, digits and single hyphens, with at least one letter"
NO_CIDR = "is no CIDR; write it as a.b.c.d/n"


def is_dns_label(value: str) -> bool:
    return len(value) <= LABEL_LENGTH and bool(_DNS_LABEL.fullmatch(value))


def is_dns_subdomain(value: str) -> bool:
    return len(value) <= SUBDOMAIN_LENGTH and bool(_DNS_SUBDOMAIN.fullmatch(value))


def is_label_key(value: str) -> bool:
    prefix, slash, name = value.rpartition("/")
    return (is_dns_subdomain(prefix) or not slash) and len(name) <= LABEL_LENGTH and bool(_QUALIFIED.fullmatch(name))


def is_label_value(value: str) -> bool:
    """A label's value; it may be empty."""
    return value == "" or (len(value) <= LABEL_LENGTH and bool(_QUALIFIED.fullmatch(value)))


def is_port_name(value: str) -> bool:
    """An IANA service name (RFC 6335), in lower case."""
    return len(value) <= PORT_NAME_LENGTH and bool(_PORT_NAME.fullmatch(value))


def cidr(value: str) -> IPv4Network | IPv6Network | None:
    """A network in CIDR form; bits beyond the prefix do not count, as in Go's ParseCIDR. None if it is no CIDR."""
    if not _CIDR.fullmatch(value):
        return None
    try:
        return ip_network(value, strict=False)
    except ValueError:
        return None
