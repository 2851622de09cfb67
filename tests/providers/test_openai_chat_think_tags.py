"""Thoughts between tags: `aichat.providers._think_tags`."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from aichat.providers._think_tags import ThinkTags


def split(*pieces: str) -> tuple[str, str]:
    """All thought and all text that *pieces* bring."""
    tags = ThinkTags()
    found = [*(tags.split(piece) for piece in pieces), tags.flush()]
    return "".join(t for t, _ in found), "".join(t for _, t in found)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a</think>b", ("a", "b")),
        ("\n <think>\na\n</think>\n\nb\n", ("\na\n", "b\n")),
        ("<think></think>b", ("", "b")),
        ("<think>a", ("a", "")),
        ("<think>a</thin", ("a</thin", "")),
        ("<think>1 < 2 </b></think>c", ("1 < 2 </b>", "c")),
        ("<think>a</think>", ("a", "")),
        ("plain", ("", "plain")),
        ("a <think>b</think>", ("", "a <think>b</think>")),
        ("<thinking>b", ("", "<thinking>b")),
        ("<th", ("", "<th")),
        ("  ", ("", "  ")),
        ("", ("", "")),
        ("<think>a</think>b</think>c", ("a", "b</think>c")),
        (" " * 200 + "<think>a", ("", " " * 200 + "<think>a")),
    ],
)
def test_tags(text: str, expected: tuple[str, str]) -> None:
    """
    Only what stands between the tags at the start is thought.
    """
    assert split(text) == expected


@given(
    st.lists(
        st.sampled_from(["<think>", "</think>", "<", "/think>", "a", "\n", " " * 60])
    ),
    st.data(),
)
def test_any_cut(words: list[str], data: st.DataObject) -> None:
    """
    Where the text is cut does not matter, and nothing but tags and line ends is lost.
    """
    # S3
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    edges = [0, *cuts, len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert split(*pieces) == split(text)
    thought, rest = split(text)
    kept = text.replace("<think>", "").replace("</think>", "")
    assert len(thought + rest) >= len(kept.strip())


def test_the_search_ends() -> None:
    """
    Once there is text, nothing is held back any more.
    """
    tags = ThinkTags()
    assert tags.split("<think>a</think>") == ("a", "")
    assert not tags.decided
    assert tags.split("b") == ("", "b")
    assert tags.decided
