"""A tokenizer that refuses every text."""

from __future__ import annotations

from typing import NoReturn


class Encoding:
    """What ``bpe_openai.get_encoding`` returns, more or less."""

    def encode_ordinary(self, text: str) -> NoReturn:
        raise ValueError("Input too long to encode safely")


def get_encoding(name: str) -> Encoding:
    return Encoding()
