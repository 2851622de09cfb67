"""Markdown that takes shape on a screen."""

from __future__ import annotations

import asyncio
import io
import itertools
import re
import sys

import pytest
from hypothesis import Phase, given, settings, strategies as st

from aichat.cli._console import Console
from aichat.cli._page import MarkdownPage, PlainPage, page_for

from ..transport.toys import virtual
from .conftest import Terminal, run
from .screen import shown

pytest.importorskip("rich", reason="the extra `cli` is not installed")

from aichat.cli._markdown import Renderer, settled

_COLOUR = {"TERM": "xterm-256color"}
_PLAIN = {**_COLOUR, "NO_COLOR": "1"}

_TEXT = """\
# A title

Some *prose* with `code`, a [link](https://example.com/x), <https://example.com> and
![a cat](cat.png), which goes on and on so that it has to be wrapped.

9. nine
10. ten

    with a paragraph
    - nested

> a quote

| name | size |
|------|-----:|
| a    |   12 |

***

```python
def f() -> None:
    pass
```

<b>html</b> &#27;[31m &#155;
"""
_SHOWN = """\
A title

Some prose with code, a link (https://example.com/x),
https://example.com and [a cat] (cat.png), which goes on and
on so that it has to be wrapped.

  9. nine
 10. ten
     with a paragraph
      • nested

▌ a quote

 name  size
 ──────────
 a       12

────────────────────────────────────────────────────────────

  def f() -> None:
      pass

<b>html</b> \ufffd[31m \ufffd"""


def rendered(text: str, width: int = 60) -> str:
    return "\n".join(shown("\n".join(Renderer(_COLOUR).lines(text, width=width))))


def test_markdown_as_it_looks() -> None:
    """Nothing of it is lost: not HTML, not the address of a link or a picture."""
    assert rendered(_TEXT) == _SHOWN


def test_no_colours() -> None:
    """Bold stays, for it is no colour; nothing else does."""
    lines = Renderer(_PLAIN).lines(
        "**a** `b`\n\n```python\nclass A: ...\n```", width=40
    )
    assert lines[0].startswith("\x1b[1ma\x1b[0m b")
    for line in lines:
        assert "\x1b[3" not in line
        assert "\x1b[9" not in line


def test_nothing_can_steer_the_terminal() -> None:
    """Not even by an entity, or in the address of a link."""
    text = "&#27;]0;x&#7; &#13; &#155; [a](<b&#27;[2J>) ![c](d%1B[2J)"
    (line,) = Renderer(_PLAIN).lines(text, width=200)
    # Our own are those for bold and dim.
    assert not set(re.sub(r"\x1b\[\d*m", "", line)) & {"\x1b", "\x07", "\r", "\x9b"}


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ("", ""),
        ("One", ""),
        ("One.\n\n", ""),
        ("One.\n\nTwo", ""),
        ("One.\n\nTwo.\n", "One.\n\n"),
        # It could still become `2.`, of the same list.
        ("1. a\n\n2", ""),
        ("1. a\n\n2. b\n\nText.\n", "1. a\n\n2. b\n\n"),
        ("```\na\n\nb\n", ""),
        ("a\x0b\x0cb\n\n# c\n", "a\x0b\x0cb\n\n"),
    ],
)
def test_what_is_settled(text: str, done: str) -> None:
    """All but the last block, as far as its first line is whole."""
    assert text[: settled(text)] == done


class Screen(Terminal):
    """Counts the frames."""

    frames = 0

    def flush(self) -> None:
        self.frames += 1


def page_on(screen: io.StringIO, *, columns: int = 61, lines: int = 24) -> MarkdownPage:
    console = Console(
        stdin=io.StringIO(), stdout=screen, stderr=Terminal(), environ=_PLAIN
    )
    clock = itertools.count(0, 0.001)
    return MarkdownPage(
        console, Renderer(_PLAIN), lambda: (columns, lines), lambda: next(clock)
    )


@pytest.mark.parametrize("size", [1, 7, 50, 1000])
@virtual
async def test_it_looks_the_same_however_it_comes(size: int) -> None:
    """What was drawn on the way leaves no trace."""
    screen = Screen()
    page = page_on(screen)
    for at in range(0, len(_TEXT), size):
        page.say(_TEXT[at : at + size])
        await asyncio.sleep(0.05)
    page.settle()
    assert "\n".join(shown(screen.getvalue(), columns=61, lines=24)) == f"{_SHOWN}\n"
    assert screen.frames >= min(len(_TEXT) // size, 2)


@settings(max_examples=15, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(st.lists(st.integers(1, 60), min_size=5, max_size=20))
@virtual
async def test_it_looks_the_same_however_it_is_cut(cuts: list[int]) -> None:
    """The same, for any pieces, and on a screen that is lower than the answer."""
    screen = Terminal()
    page = page_on(screen, lines=6)
    rest = _TEXT
    for cut in cuts:
        page.say(rest[:cut])
        rest = rest[cut:]
        await asyncio.sleep(0.05)
    page.say(rest)
    page.settle()
    seen = shown(screen.getvalue(), columns=61, lines=6)
    assert "\n".join(seen) == f"{_SHOWN}\n"


@virtual
async def test_what_comes_at_once_is_drawn_at_once() -> None:
    """A thousand chunks of one read are one frame, and the screen is not drawn in vain."""
    screen = Screen()
    page = page_on(screen)
    for _ in range(1000):
        page.say("word ")
    await asyncio.sleep(0)
    await asyncio.sleep(0.1)
    assert screen.frames == 1
    page.say("end.")
    await asyncio.sleep(1)
    assert screen.frames == 2
    page.settle()
    page.settle()
    assert screen.getvalue().rstrip().endswith("end.")


@virtual
async def test_a_block_that_is_higher_than_the_screen() -> None:
    """One sees its end while it grows, and all of it when it is done."""
    screen = Terminal()
    page = page_on(screen, lines=6)
    for number in range(1, 21):
        page.say(f"- item {number}\n")
        await asyncio.sleep(0.05)
    growing = shown(screen.getvalue(), lines=6)
    assert growing == [*(f" • item {n}" for n in range(16, 21)), ""]
    page.settle()
    done = shown(screen.getvalue(), lines=6)
    assert done == [*(f" • item {n}" for n in range(1, 21)), ""]


class Broken(Terminal):
    def write(self, text: str) -> int:
        raise BrokenPipeError


@virtual
async def test_nobody_reads_any_more() -> None:
    """What fails between two chunks is raised with the next one."""
    page = page_on(Broken())
    page.say("One.")
    await asyncio.sleep(0.1)
    with pytest.raises(BrokenPipeError):
        page.say("Two.")
    with pytest.raises(BrokenPipeError):
        page.settle()


@pytest.mark.parametrize(
    ("environ", "stdout", "plain", "kind"),
    [
        (_COLOUR, Terminal(), False, MarkdownPage),
        (_COLOUR, Terminal(), True, PlainPage),
        (_COLOUR, io.StringIO(), False, PlainPage),
        ({"TERM": "dumb"}, Terminal(), False, PlainPage),
        ({}, Terminal(), False, PlainPage),
    ],
)
def test_who_gets_markdown(
    environ: dict[str, str], stdout: io.StringIO, plain: bool, kind: type
) -> None:
    """A terminal that can show it, unless somebody wants the text."""
    console = Console(
        stdin=io.StringIO(), stdout=stdout, stderr=io.StringIO(), environ=environ
    )
    assert type(page_for(console, plain=plain)) is kind


def test_without_rich(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the text as it came, without a complaint."""
    monkeypatch.setitem(sys.modules, "aichat.cli._markdown", None)
    outcome = run("chat", "Hi", environ=_COLOUR, stdout=Terminal())
    assert outcome.status == 0
    assert "\x1b" not in outcome.out
    assert "- It has **1** words" in outcome.out


def test_the_size_of_the_terminal_in_use() -> None:
    """Lines are as long as the terminal is wide."""
    screen = Terminal()
    outcome = run("chat", "Say " + "long " * 60, environ=_PLAIN, stdout=screen)
    assert outcome.status == 0
    assert max(map(len, shown(outcome.out))) <= 79
