"""NetworkPolicy: what enforces it is in place on the node, and knows the policies that the API has."""

import json

import pytest
from testinfra.host import Host

from kubeproof.config.settings import Settings
from tests.cluster.conftest import Api


@pytest.mark.network("podnet")
def test_podnet_knows_the_policies(host: Host, api: Api, settings: Settings) -> None:
    known = [item["metadata"] for item in api.items("networkpolicies") if settings.network_policy is not False]
    expected = {f"{each['namespace']}/{each['name']}": each["resourceVersion"] for each in known}
    assert json.loads(host.file("/run/podnet/policies.json").content_string)["policies"] == expected


@pytest.mark.network("podnet")
def test_rules_of_podnet(host: Host, settings: Settings) -> None:
    there = "table inet podnet" in host.check_output("nft list tables").splitlines()
    assert there == (settings.network_policy is not False)


@pytest.mark.network("canal")
def test_calicos_chain_comes_first(host: Host) -> None:
    first = next(rule for rule in host.iptables.rules("filter", "FORWARD") if rule.startswith("-A "))
    assert first.split()[-1] == "cali-FORWARD"
