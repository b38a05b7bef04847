"""The list-and-watch client against the stand-in of the API: pages, bookmarks, and watches that break, over TLS."""

import http.client
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import kubeapi
from agents.kubeapi import Api, ApiError, Follower
from tests.scale.api_stand_in import StandIn, make_certificate, merged
from tests.unit.agents.netns import eventually
from tests.unit.serving import serving

PATH = "/api/v1/things"
ADDRESS, TOKEN = "127.0.0.1", "let-me-in"
Json = dict[str, Any]


def thing(number: int, value: str = "") -> Json:
    return {"metadata": {"name": f"thing{number}"}, "value": value}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    monkeypatch.setattr(kubeapi, "PAGE", 3)
    monkeypatch.setattr(kubeapi, "RETRY_SECONDS", (0.01,))
    with serving(StandIn((ADDRESS, 0), make_certificate(tmp_path, ADDRESS), TOKEN)) as server:
        server.fill(PATH, (thing(number) for number in range(7)))
        yield server


@pytest.fixture
def api(server: StandIn, tmp_path: Path) -> Api:
    (tmp_path / "token").write_text(TOKEN)
    context = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    port = server.server_address[1]
    return Api(
        lambda: http.client.HTTPSConnection(ADDRESS, port, timeout=5, context=context),
        tmp_path / "token",
        "the stand-in",
    )


@pytest.fixture
def follower(api: Api) -> Iterator[Follower[str]]:
    follower: Follower[str] = Follower(api, PATH, lambda item: str(item["value"]), lambda: None)
    follower.start()
    eventually(follower.objects)
    yield follower
    follower.stop()


def value(follower: Follower[str], number: int) -> str | None:
    return (follower.objects() or {}).get(f"thing{number}")


def test_a_list_comes_by_pages_on_one_connection(server: StandIn, api: Api) -> None:
    found: list[Json] = []
    assert api.list(PATH, found.append) == "7"
    assert [item["metadata"]["name"] for item in found] == [f"thing{number}" for number in range(7)]
    assert [asked.query["limit"] for asked in server.asked] == ["3", "3", "3"]
    assert server.connections == 1


def test_all_pages_are_of_one_moment(server: StandIn, api: Api) -> None:
    found: list[str] = []

    def take(item: Json) -> None:
        found.append(item["metadata"]["name"])
        if len(found) == 1:
            server.put(PATH, thing(7))
            server.delete(PATH, "thing6")

    assert api.list(PATH, take) == "7"
    assert found == [f"thing{number}" for number in range(7)]


def test_what_changes_after_a_list_is_seen_by_the_watch(server: StandIn, follower: Follower[str]) -> None:
    server.put(PATH, thing(2, "new"))
    server.put(PATH, thing(9, "more"))
    server.delete(PATH, "thing0")
    eventually(lambda: (value(follower, 2), value(follower, 9), value(follower, 0)) == ("new", "more", None))
    assert server.count("watch") == 1


def test_an_empty_collection(server: StandIn, api: Api) -> None:
    server.fill("/api/v1/others", ())
    found: list[Json] = []
    assert api.list("/api/v1/others", found.append) == "7"
    assert found == []


def test_the_rest_of_a_list_that_is_too_old(server: StandIn, api: Api) -> None:
    def take(_: Json) -> None:
        server.forget(PATH)

    with pytest.raises(ApiError, match="too old") as caught:
        api.list(PATH, take)
    assert caught.value.status == kubeapi.GONE


def test_a_connection_that_broke_is_no_reason_to_list_again(server: StandIn, follower: Follower[str]) -> None:
    eventually(lambda: server.count("watch") == 1)
    lists = server.count("list")
    server.put(PATH, thing(2, "before"))
    eventually(lambda: value(follower, 2) == "before")
    server.hang_up()
    server.put(PATH, thing(2, "meanwhile"))
    eventually(lambda: value(follower, 2) == "meanwhile")
    assert server.count("list") == lists
    assert [asked.query["resourceVersion"] for asked in server.asked if asked.kind == "watch"] == ["7", "8"]


def test_after_two_failures_in_a_row_it_lists_again(server: StandIn, follower: Follower[str]) -> None:
    eventually(lambda: server.count("watch") == 1)
    lists = server.count("list")
    server.token = "another"
    server.hang_up()
    eventually(lambda: server.refused >= 2)
    server.token = TOKEN
    eventually(lambda: server.count("list") == 2 * lists)
    server.put(PATH, thing(2, "after"))
    eventually(lambda: value(follower, 2) == "after")


def test_a_version_that_is_forgotten_is_listed_anew(server: StandIn, follower: Follower[str]) -> None:
    eventually(lambda: server.count("watch") == 1)
    lists = server.count("list")
    server.forget(PATH)
    eventually(lambda: server.count("list") == 2 * lists)
    server.put(PATH, thing(2, "after"))
    eventually(lambda: value(follower, 2) == "after")


def test_bookmarks_move_the_version_that_a_watch_goes_on_from(
    server: StandIn, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeapi, "WATCH_SECONDS", 2)
    server.bookmark_seconds = 0.1
    server.fill("/api/v1/others", (thing(number) for number in range(5)))
    events = api.watch(PATH, "7")
    event = next(events)
    events.close()  # type: ignore[attr-defined]
    assert event == {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "12"}}}


def test_watches_do_not_all_end_at_once(server: StandIn, api: Api) -> None:
    for _ in range(20):
        events = api.watch(PATH, "0")
        with pytest.raises(ApiError, match="too old"):
            next(events)
    seconds = {int(asked.query["timeoutSeconds"]) for asked in server.asked}
    assert len(seconds) > 5
    assert min(seconds) >= kubeapi.WATCH_SECONDS / 2
    assert max(seconds) <= kubeapi.WATCH_SECONDS


def test_a_wrong_token_is_refused(server: StandIn, api: Api) -> None:
    server.token = "another"
    with pytest.raises(ApiError, match="401 Unauthorized"):
        api.list(PATH, lambda _: None)


def test_merge_patch(server: StandIn, api: Api) -> None:
    answer = api.merge_patch(f"{PATH}/thing1", {"metadata": {"labels": {"a": "b"}}, "value": None})
    assert answer == {"metadata": {"name": "thing1", "labels": {"a": "b"}, "resourceVersion": "8"}}
    assert merged({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"b": None, "e": 4}}) == {"a": {"c": 2, "e": 4}, "d": 3}
