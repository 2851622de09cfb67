"""
Python types as JSON Schema, and JSON values as those types.

A type is read once, into a *shape*; its schema and its checks both come from there, so that
what the model is told and what is accepted do not drift apart.
"""

from ._convert import convert as convert, schema_of as schema_of
from ._docstrings import Documentation as Documentation, documentation as documentation
from ._plain import plain as plain
from ._problems import ConversionError as ConversionError, Problem as Problem
from ._signatures import Arguments as Arguments, arguments_of as arguments_of
