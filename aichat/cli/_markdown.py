"""
Markdown as text for a terminal, block by block. The only module that imports rich.

A paragraph, a list or a code block is *settled* once another one has begun below it: whatever
comes later leaves it as it is. So a long answer is rendered in pieces, each of them once.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import ClassVar, final
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import (
    CodeBlock,
    Heading,
    HorizontalRule,
    ListItem,
    Markdown,
    MarkdownElement,
)
from rich.padding import Padding
from rich.rule import Rule
from rich.segment import Segment
from rich.syntax import Syntax
from rich.theme import Theme

__all__ = ["Renderer", "settled"]

#: The terminal's own colours, which go with its background, whichever that is.
_CODE_THEME = "ansi_dark"
_THEME = Theme({
    "markdown.h1": "bold underline",
    "markdown.h2": "bold",
    "markdown.h3": "bold",
    "markdown.h4": "bold",
    "markdown.h5": "bold",
    "markdown.h6": "bold",
    "markdown.code": "cyan",
    "markdown.block_quote": "dim",
    "markdown.hr": "dim",
    "markdown.link": "none",
    "markdown.link_url": "dim",
    "markdown.item.bullet": "none",
    "markdown.item.number": "none",
    "markdown.table.border": "dim",
    "markdown.table.header": "bold",
})


_ESCAPE, _PLAIN = "\x1b", "\x1b[0m"
_FILLING = re.compile(r"(?: |\x1b\[[\d;]*m)+$")


def _parser() -> MarkdownIt:
    # rich shows no HTML at all; as text it is at least there.
    return MarkdownIt(options_update={"html": False}).enable(["strikethrough", "table"])


def settled(text: str) -> int:
    """
    Tell how much of *text* is settled, in characters.

    >>> settled("One.\\n\\nTwo.\\n\\n- thr")
    6
    """
    # A line that has not ended may become anything.
    whole = text[: text.rfind("\n") + 1]
    starts = [
        token.map[0]
        for token in _parser().parse(whole)
        if token.level == 0 and token.map is not None
    ]
    if not starts:
        return 0
    # Not `splitlines`: for Markdown only a line feed ends a line.
    return sum(len(line) + 1 for line in whole.split("\n")[: max(starts)])


@final
class Renderer:
    """Turns Markdown into lines for a terminal of that kind."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def lines(self, text: str, *, width: int) -> list[str]:
        """Render *text*, with escape sequences for what is bold, dim or coloured."""
        lines: list[str] = []
        for block in _blocks(_parser().parse(text)):
            if rendered := self._rendered(block, width):
                lines += ["", *rendered] if lines else rendered
        return lines

    def _rendered(self, block: list[Token], width: int) -> list[str]:
        out = io.StringIO()
        console = Console(
            file=out,
            width=width,
            theme=_THEME,
            force_terminal=True,
            no_color="NO_COLOR" in self._environ,
            legacy_windows=False,
            emoji=False,
            markup=False,
            highlight=False,
            _environ=self._environ,
        )
        console.print(_Block(block))
        lines = [_trimmed(line) for line in out.getvalue().split("\n")]
        # Some blocks bring blank lines of their own, and others do not.
        while lines and not lines[-1]:
            del lines[-1]
        while lines and not lines[0]:
            del lines[0]
        return lines


def _blocks(tokens: Iterable[Token]) -> Iterator[list[Token]]:
    block: list[Token] = []
    for token in tokens:
        block.append(token)
        if token.level == 0 and token.nesting <= 0:
            yield block
            block = []


def _trimmed(line: str) -> str:
    """*line* without the blanks that fill it up: whoever copies it does not want them."""
    text = _FILLING.sub("", line)
    return f"{text}{_PLAIN}" if _ESCAPE in text else text


class _Heading(Heading):
    """A heading to the left: nothing in a conversation stands in the middle."""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        yield self.text


class _Code(CodeBlock):
    """Code, a step to the right, where nothing has to be filled up."""

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        code = str(self.text).rstrip()
        syntax = Syntax(code, self.lexer_name, theme=self.theme, word_wrap=True)
        yield Padding(syntax, (0, 0, 0, 2), expand=False)


class _HorizontalRule(HorizontalRule):
    new_line = True

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> RenderResult:
        yield Rule(style="markdown.hr", characters="─")


class _ListItem(ListItem):
    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        # As it was written, and as one refers to it.
        width = len(f"{last_number}. ") + 1
        lines = console.render_lines(
            self.elements, options.update(width=options.max_width - width)
        )
        mark, indent = f"{number}. ".rjust(width), " " * width
        for index, line in enumerate(lines):
            yield Segment(indent if index else mark)
            yield from line
            yield Segment.line()


class _Block(Markdown):
    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": _Heading,
        "fence": _Code,
        "code_block": _Code,
        "hr": _HorizontalRule,
        "list_item_open": _ListItem,
    }

    def __init__(self, tokens: list[Token]) -> None:
        # Links are spelt out: one should see where they go.
        super().__init__("", code_theme=_CODE_THEME, hyperlinks=False)
        self.parsed = tokens
        for token in tokens:
            token.children = list(_spelt_out(token.children or ()))


def _spelt_out(tokens: Iterable[Token]) -> Iterator[Token]:
    """Make links of pictures, and text of links that are their own."""
    inside: list[Token] | None = None
    for token in tokens:
        if token.type == "image":
            source = token.attrs.get("src", "")
            title = Token("text", "", 0, content=f"[{token.content or 'image'}]")
            found = [
                Token("link_open", "a", 1, attrs={"href": source}),
                title,
                Token("link_close", "a", -1),
            ]
        elif token.type == "link_open":
            inside = [token]
            continue
        elif token.type == "link_close" and inside is not None:
            shown = "".join(each.content for each in inside)
            found = inside[1:]
            if shown != unquote(str(inside[0].attrs.get("href"))):
                found = [*inside, token]
            inside = None
        else:
            found = [token]
        if inside is None:
            yield from found
        else:
            inside += found
