"""kuard's stand-in: what it tells about itself and its client."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from agents.kuard.server import MAX_BYTES, Identity, make_server, requested_bytes
from tests.unit.serving import serving

IDENTITY = Identity("kuard-1", "k8s-node1", "10.244.1.2")


@pytest.fixture
def url() -> Iterator[str]:
    with serving(make_server(IDENTITY, port=0, host="127.0.0.1")) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}"


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 (the test's own server)
        body: bytes = answer.read()
        return body


def test_whoami(url: str) -> None:
    answer = json.loads(get(f"{url}/whoami"))
    assert answer.pop("client_port") > 0
    assert answer == {"pod": "kuard-1", "node": "k8s-node1", "pod_ip": "10.244.1.2", "client": "127.0.0.1"}


def test_page_names_what_it_is(url: str) -> None:
    page = get(f"{url}/").decode()
    assert "not the upstream program" in page
    assert "kuard-1" in page


@pytest.mark.parametrize("length", [0, 1, 1450, 200_000])
def test_bytes(url: str, length: int) -> None:
    assert len(get(f"{url}/bytes/{length}")) == length


@pytest.mark.parametrize(("path", "status"), [("/bytes/x", 400), (f"/bytes/{MAX_BYTES + 1}", 400), ("/nothing", 404)])
def test_refusals(url: str, path: str, status: int) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        get(url + path)
    assert caught.value.code == status


@pytest.mark.parametrize("text", ["", "-1", "1.5", "²", "9" * 5000])
def test_what_is_no_number_of_bytes(text: str) -> None:
    assert requested_bytes(f"/bytes/{text}") is None


def test_identity_comes_from_the_environment() -> None:
    assert Identity.from_environment({"POD_NAME": "a", "NODE_NAME": "b"}) == Identity("a", "b", "unknown")
