"""
Where Gemini found what it says.

Sources come at the end, once for the whole answer, with the places that lean on them as
bytes of UTF-8. In practice these bytes are off at times, while the words that stand beside
them are right: so the words decide, and a place that they do not confirm is left open.

See: https://ai.google.dev/gemini-api/docs/google-search
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from attrs import define, field

from ..types import Citation, CitationDelta, ProviderState

__all__ = ["citations"]

#: A part, and the characters of it.
_Place: TypeAlias = tuple[int, int | None, int | None]
#: Makes a citation of a source, what is to be kept of it, and where it belongs.
_Cite: TypeAlias = Callable[
    [Mapping[str, Any], Mapping[str, Any], _Place | None], CitationDelta
]


def citations(
    texts: Mapping[int, str],
    facts: Mapping[str, Any],
    *,
    provider: str,
    model: str | None,
) -> Iterator[CitationDelta]:
    """
    The sources in *facts*, a candidate's metadata, on the parts *texts* that lean on them.

    Without any text there is nothing to cite for, and the metadata has to do.
    """
    if not texts:
        return
    places = _Places(texts)

    def cite(
        source: Mapping[str, Any], state: Mapping[str, Any], where: _Place | None
    ) -> CitationDelta:
        part, start, end = where or (places.last, None, None)
        return CitationDelta(
            Citation(
                url=_text(source.get("uri")) or _text(source.get("sourceUri")),
                title=_text(source.get("title")),
                # Of a page on the web we get no words, of a document those that were found.
                cited_text=_text(source.get("text")),
                start=start,
                end=end,
                provider_state=ProviderState(provider, state, model),
            ),
            part,
        )

    yield from _grounding(facts.get("groundingMetadata"), places, cite)
    for raw in _citation_list(facts.get("citationMetadata")):
        if _text(raw.get("uri")) or _text(raw.get("title")):
            where = places.find(raw.get("startIndex"), raw.get("endIndex"), None)
            yield cite(raw, {"citation": raw}, where)


def _grounding(raw: Any, places: _Places, cite: _Cite) -> Iterator[CitationDelta]:
    if not isinstance(raw, dict):
        return
    chunks = _list(raw.get("groundingChunks"))
    used = set[int]()
    for support in _dicts(raw.get("groundingSupports")):
        segment = support.get("segment")
        where = places.of(segment) if isinstance(segment, dict) else None
        for index in _list(support.get("groundingChunkIndices")):
            if type(index) is int and 0 <= index < len(chunks):
                used.add(index)
                state = {"groundingChunk": chunks[index], "groundingSupport": support}
                yield cite(_source(chunks[index]), state, where)
    for index, chunk in enumerate(chunks):
        if index not in used:
            yield cite(_source(chunk), {"groundingChunk": chunk}, None)


@define
class _Places:
    """Finds bytes of the whole answer in the parts that it is made of."""

    _texts: Mapping[int, str]
    _bytes: dict[int, bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        # JSON may hold half a surrogate pair.
        self._bytes = {
            part: text.encode("utf-8", "surrogatepass")
            for part, text in self._texts.items()
        }

    @property
    def last(self) -> int:
        """The last part that says something: it gets what has no place."""
        spoken = [part for part, text in self._texts.items() if text]
        return spoken[-1] if spoken else max(self._texts)

    def of(self, segment: Mapping[str, Any]) -> _Place | None:
        """Where *segment* is."""
        start, end = segment.get("startIndex"), segment.get("endIndex")
        return self.find(start, end, _text(segment.get("text")))

    def find(self, start: Any, end: Any, words: str | None) -> _Place | None:
        """Where these bytes are, or else these *words*, if they say it only once."""
        start = start or 0  # protobuf leaves out what is zero
        if type(start) is int and type(end) is int and 0 <= start < end:
            for part, begin, stop in self._candidates(start, end, bool(words)):
                place = self._characters(part, begin, stop)
                if place and words in (None, self._texts[part][place[1] : place[2]]):
                    return place
        if not words:
            return None
        found: list[tuple[int, int, int]] = [
            (part, at, at + len(words))
            for part, text in self._texts.items()
            if (at := text.find(words)) >= 0
        ]
        if (
            len(found) != 1
            or self._texts[found[0][0]].find(words, found[0][1] + 1) >= 0
        ):
            return None
        return found[0]

    def _candidates(
        self, start: int, end: int, confirmed: bool
    ) -> Iterator[tuple[int, int, int]]:
        """What the bytes may mean: of the whole answer, or of one part of it."""
        offset = 0
        for part, data in self._bytes.items():
            if offset <= start and end <= offset + len(data):
                yield part, start - offset, end - offset
            offset += len(data)
        if confirmed:
            for part, data in self._bytes.items():
                if end <= len(data):
                    yield part, start, end

    def _characters(
        self, part: int, start: int, end: int
    ) -> tuple[int, int, int] | None:
        data = self._bytes[part]
        try:
            begin = len(data[:start].decode("utf-8", "surrogatepass"))
            length = len(data[start:end].decode("utf-8", "surrogatepass"))
        except UnicodeDecodeError:
            return None
        return part, begin, begin + length


def _source(chunk: Any) -> Mapping[str, Any]:
    """What is in a chunk: ``web``, ``retrievedContext``, ``maps``, ``image``."""
    return next(_dicts(chunk.values()), {}) if isinstance(chunk, dict) else {}


def _citation_list(raw: Any) -> Iterator[dict[str, Any]]:
    if isinstance(raw, dict):
        # The older name is that of v1.
        yield from _dicts(raw.get("citations") or raw.get("citationSources"))


def _dicts(value: Iterable[Any] | None) -> Iterator[dict[str, Any]]:
    items = value if isinstance(value, Iterable) else ()
    return (item for item in items if isinstance(item, dict))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
