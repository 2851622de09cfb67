"""
What the Responses API keeps: responses, unless it is told not to.

A later request may go on from one, or refer to an item by its id alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from attrs import define, evolve, field

from ..types import dumps
from ._sim_dialect import Endpoint, Refused, Reply, Visit
from ._sim_pages import page
from ._sim_responses import RESPONSES
from ._sim_seal import seal

__all__ = ["ENDPOINTS"]

Item = Mapping[str, Any]


@define
class _Kept:
    """Responses by their ids, and what each was an answer to."""

    responses: dict[str, dict[str, Any]] = field(factory=dict, init=False)
    inputs: dict[str, list[Item]] = field(factory=dict, init=False)

    def get(self, id: str) -> dict[str, Any]:
        """Raises `Refused` if there is none."""
        if id not in self.responses:
            raise Refused(f"Response with id '{id}' not found.", status=404)
        return self.responses[id]

    def item(self, id: str) -> Item:
        """An item of an answer. Raises `Refused` if there is none."""
        for response in self.responses.values():
            for item in response["output"]:
                if item["id"] == id:
                    found: Item = item
                    return found
        raise Refused(
            f"Item with id '{id}' not found. Items are not persisted when `store` is set "
            "to false. Try again with `store` set to true, or remove this item from your "
            "input.",
            status=404,
            param="input",
        )


def _create(visit: Visit) -> Reply:
    visit = _resolved(visit)
    exchange = RESPONSES.hear(visit)
    if exchange.body.get("store") is not False:
        kept = visit.shelf.of(_Kept)
        response = RESPONSES.document(exchange)
        kept.responses[response["id"]] = response
        kept.inputs[response["id"]] = list(exchange.body["input"])
    return RESPONSES.reply(exchange)


def _resolved(visit: Visit) -> Visit:
    """The same, with everything in its input that it only refers to."""
    kept = visit.shelf.of(_Kept)
    body = visit.object()
    given = body.get("input")
    if isinstance(given, str):
        given = [{"role": "user", "content": given}] if given else []
    items = list(_completed(kept, given)) if isinstance(given, list) else given
    if (previous := body.get("previous_response_id")) is not None:
        if previous not in kept.responses:
            raise Refused(
                f"Previous response with id '{previous}' not found.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        answered = map(_sealed, kept.responses[previous]["output"])
        items = [*kept.inputs[previous], *answered, *(items or ())]
    return evolve(visit, body={**body, "input": items})


def _completed(kept: _Kept, items: Iterable[Item]) -> Iterator[Item]:
    """The items, with those in full that are nothing but an id."""
    for item in items:
        match item:
            case {"type": "item_reference", "id": str(id)}:
                yield _sealed(kept.item(id))
            case {"type": "reasoning", "id": str(id)} if not item.get(
                "encrypted_content"
            ):
                yield _sealed(kept.item(id))
            case _:
                yield item


def _sealed(item: Item) -> Item:
    """An item that was kept here needs no proof, but the one who reads it wants one."""
    if item["type"] != "reasoning" or "encrypted_content" in item:
        return item
    shown = [part["text"] for part in item["summary"]]
    return {**item, "encrypted_content": "gAAAA" + seal(dumps(shown).decode())}


def _inputs(visit: Visit) -> Reply:
    kept = visit.shelf.of(_Kept)
    name = visit.params["id"]
    kept.get(name)
    items = [
        {"id": f"msg_{name}i{index}", "type": "message", **item}
        for index, item in enumerate(kept.inputs[name])
    ]
    # The latest first, as OpenAI has it.
    return {"object": "list", **page(items[::-1], visit.query, size=20)}


def _delete(visit: Visit) -> Reply:
    kept = visit.shelf.of(_Kept)
    name = visit.params["id"]
    kept.get(name)
    del kept.responses[name], kept.inputs[name]
    return {"id": name, "object": "response", "deleted": True}


def _count(visit: Visit) -> Reply:
    visit = _resolved(visit)
    question = RESPONSES.ask(evolve(visit, body={"model": "simulator", **visit.body}))
    return {"object": "response.input_tokens", "input_tokens": question.tokens}


ENDPOINTS: Final = (
    Endpoint("POST", "/responses", _create),
    Endpoint("POST", "/responses/input_tokens", _count),
    Endpoint("GET", "/responses/{id}", lambda v: v.shelf.of(_Kept).get(v.params["id"])),
    Endpoint("GET", "/responses/{id}/input_items", _inputs),
    Endpoint("DELETE", "/responses/{id}", _delete),
)
