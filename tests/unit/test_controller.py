from pathlib import Path

import pytest
from pyinfra.api.exceptions import DeployError

from kubeproof.controller import ARMOUR, armoured_key


def test_key_from_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key.asc"
    key.write_text(f"{ARMOUR}\n")
    assert armoured_key("kubernetes_apt_key", str(key)) == f"{ARMOUR}\n"


def test_url_that_cannot_be_fetched() -> None:
    with pytest.raises(DeployError, match=r"kubernetes_apt_key: cannot fetch http://127\.0\.0\.1:1/key"):
        armoured_key("kubernetes_apt_key", "http://127.0.0.1:1/key")


@pytest.mark.parametrize(("content", "said"), [(b"no key", "not an ASCII-armoured key"), (b"\x99\x01", "cannot read")])
def test_what_is_no_key(tmp_path: Path, content: bytes, said: str) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    with pytest.raises(DeployError, match=said):
        armoured_key("kubernetes_apt_key", str(key))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="correct the setting"):
        armoured_key("kubernetes_apt_key", str(tmp_path / "absent"))
