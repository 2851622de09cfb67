"""
OpenRouter's ``reasoning_details``: thoughts, summaries and signatures.

They have to go back unchanged and in order, and they come in fragments.
"""

from __future__ import annotations

from typing import Any

from attrs import define, field

from ._openai_chat_json import get_text

__all__ = ["ReasoningDetails"]

#: Which field of a detail is built up from fragments. Encrypted data comes whole.
_GROWING = {"reasoning.text": "text", "reasoning.summary": "summary"}


@define
class ReasoningDetails:
    """Joins the fragments that follow each other in the same place."""

    _details: list[dict[str, Any]] = field(factory=list, init=False)
    #: The fragments of the last detail's text.
    _fragments: list[str] = field(factory=list, init=False)

    def add(self, detail: Any) -> str:
        """Take one item of the list; return the text in it."""
        if not isinstance(detail, dict):
            return ""
        grows = _GROWING.get(get_text(detail, "type"))
        text = detail.get(grows) if grows else None
        text = text if isinstance(text, str) else ""
        if grows and self._continues(detail):
            # A signature comes with the last fragment; the others hold "" or nothing.
            self._details[-1] |= {k: v for k, v in detail.items() if v and k != grows}
        else:
            self._close()
            self._details.append(dict(detail))
        if text:
            self._fragments.append(text)
        return text

    def _continues(self, detail: dict[str, Any]) -> bool:
        if not self._details:
            return False
        last = self._details[-1]
        same = all(last.get(k) == detail.get(k) for k in ("type", "index"))
        ids = {get_text(d, "id") for d in (last, detail)} - {""}
        return (
            same and len(ids) < 2 and not (last.get("signature") and detail.get("text"))
        )

    def _close(self) -> None:
        if self._fragments:
            last = self._details[-1]
            last[_GROWING[last["type"]]] = "".join(self._fragments)
            self._fragments = []

    def all(self) -> list[dict[str, Any]]:
        """Everything so far, in the form in which it goes back."""
        self._close()
        return self._details
