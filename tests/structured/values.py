"""Types to ask for: one of each kind, and an answer that each of them takes."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

import attrs
import pydantic

__all__ = ["KINDS", "Capital", "City", "Colour", "Country", "Place", "Town", "Tree"]


@attrs.frozen
class City:
    """A city."""

    name: str
    people: int
    sights: list[str] = attrs.field(factory=list)


@dataclass
class Town:
    name: str
    people: Annotated[int, "How many live there."]
    twin: str | None = None
    tags: list[str] = field(default_factory=list)


class Place(TypedDict):
    name: str
    latitude: float


class Capital(pydantic.BaseModel):
    name: str
    people: int = pydantic.Field(ge=0)


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@attrs.frozen
class Country:
    name: str
    capital: City
    colours: list[Colour]
    kind: Literal["kingdom", "republic"]


@attrs.frozen
class Tree:
    name: str
    branches: list[Tree]


#: A kind, an answer as JSON has it, and what it is read into.
KINDS: tuple[tuple[Any, Any, Any], ...] = (
    (City, {"name": "Rome", "people": 3, "sights": []}, City("Rome", 3)),
    (Town, {"name": "Ulm", "people": 1, "twin": None, "tags": []}, Town("Ulm", 1)),
    (Place, {"name": "Ulm", "latitude": 48.4}, {"name": "Ulm", "latitude": 48.4}),
    (Capital, {"name": "Rome", "people": 3}, Capital(name="Rome", people=3)),
    (list[City], [{"name": "A", "people": 1, "sights": ["x"]}], [City("A", 1, ["x"])]),
    (list[Capital], [{"name": "A", "people": 1}], [Capital(name="A", people=1)]),
    (Colour, "red", Colour.RED),
    (Literal["yes", "no"], "no", "no"),
    (City | Place, {"name": "U", "latitude": 1.5}, {"name": "U", "latitude": 1.5}),
    (int, 7, 7),
    (str, "x", "x"),
    (list[int] | None, None, None),
    (
        Country,
        {
            "name": "Italy",
            "capital": {"name": "Rome", "people": 3, "sights": []},
            "colours": ["green", "red"],
            "kind": "republic",
        },
        Country("Italy", City("Rome", 3), [Colour.GREEN, Colour.RED], "republic"),
    ),
    (
        Tree,
        {"name": "a", "branches": [{"name": "b", "branches": []}]},
        Tree("a", [Tree("b", [])]),
    ),
    (
        {
            "type": "object",
            "properties": {"n": {"type": "integer"}},
            "required": ["n"],
            "additionalProperties": False,
        },
        {"n": 1},
        {"n": 1},
    ),
    ({"type": "array", "items": {"type": "integer"}}, [1, 2], [1, 2]),
    ({"enum": ["a", "b"]}, "b", "b"),
)
