"""Lists of the simulator, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from aichat.testing._sim_dialect import Endpoint, Refused, mount
from aichat.testing._sim_pages import page, token_page
from aichat.testing._sim_seal import seal, unseal

ITEMS: list[dict[str, Any]] = [{"id": name} for name in "abcde"]


@pytest.mark.parametrize(
    ("query", "shown", "more"),
    [
        ({}, "abc", True),
        ({"limit": "5"}, "abcde", False),
        ({"after": "b"}, "cde", False),
        ({"after_id": "b", "limit": "2"}, "cd", True),
        ({"after": "e"}, "", False),
        ({"before_id": "e"}, "bcd", True),
        ({"before_id": "b"}, "a", False),
    ],
)
def test_a_page_lies_between_its_neighbours(
    query: dict[str, str], shown: str, more: bool
) -> None:
    """
    And says whether there is more in that direction.
    """
    found = page(ITEMS, query, size=3)

    assert "".join(item["id"] for item in found["data"]) == shown
    assert found["has_more"] is more
    assert found["first_id"] == (shown[:1] or None)
    assert found["last_id"] == (shown[-1:] or None)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"limit": "0"}, "between 1 and 1000"),
        ({"limit": "1001"}, "between 1 and 1000"),
        ({"limit": "many"}, "between 1 and 1000"),
        ({"after": "z"}, "no 'z'"),
    ],
)
def test_a_page_that_there_is_not_is_refused(
    query: dict[str, str], message: str
) -> None:
    """
    Sizes and neighbours have to be some.
    """
    with pytest.raises(Refused, match=message):
        page(ITEMS, query, size=3)


def test_google_counts_its_pages() -> None:
    """
    The token of the next one is opaque to everyone else.
    """
    first = token_page("items", ITEMS, {"pageSize": "3"})
    token = first["nextPageToken"]
    last = token_page("items", ITEMS, {"pageSize": "3", "pageToken": token})

    assert first["items"] + last["items"] == ITEMS
    assert "nextPageToken" not in last
    with pytest.raises(Refused, match="page token"):
        token_page("items", ITEMS, {"pageToken": "x"})


def test_an_endpoint_knows_its_path() -> None:
    """
    A placeholder is one name of the path, which may hold anything but a slash.
    """
    (endpoint,) = mount([Endpoint("POST", "/models/{model}:go", lambda _: {})], "/v1")

    assert endpoint.match("POST", "/v1/models/ft:a.b:go") == {"model": "ft:a.b"}
    for method, path in [
        ("GET", "/v1/models/a:go"),
        ("POST", "/v1/models/a/b:go"),
        ("POST", "/v1/models/:go"),
        ("POST", "/v1/models/a:gone"),
        ("POST", "/v2/models/a:go"),
    ]:
        assert endpoint.match(method, path) is None


def test_a_seal_shows_any_change() -> None:
    """
    Of its text, of its form, and of its place.
    """
    token = seal("a thought")

    assert unseal(token) == "a thought"
    for broken in (token[1:], token[:-4], token.swapcase(), "", None, 5, "é"):
        assert unseal(broken) is None
