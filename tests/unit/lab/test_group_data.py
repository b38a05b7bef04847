"""What the lab's cluster will be like is known before there is a lab."""

from lab import group_data
from lab.settings import load


def test_settings_are_there_without_a_lab() -> None:
    wanted = group_data.settings()
    assert wanted.pod_cidr == load().pod_cidr
    assert wanted.cni_image_repository == load().registry
    assert wanted.api_port == 6443
