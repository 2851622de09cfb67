"""Prompts with variables, in files and versions; what is rendered is what is sent."""

from ._files import (
    parse_markdown as parse_markdown,
    read_prompt as read_prompt,
)
from ._library import PromptLibrary as PromptLibrary
from ._template import PromptTemplate as PromptTemplate

__all__ = ["PromptLibrary", "PromptTemplate", "parse_markdown", "read_prompt"]
