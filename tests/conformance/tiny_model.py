"""
A real inference engine with a model of half a megabyte, behind a real HTTP server.

The weights are random, so it talks gibberish, with invalid UTF-8 now and then. Everything
around it is real: framing, roles, finish reasons, token counts, stop sequences, grammars,
what happens when somebody hangs up. Needs the extra ``llamacpp``; downloads nothing.

The server runs in a process of its own, which is this file run as a script. It ends when
its standard input does, so it cannot outlive the tests.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

__all__ = ["CALLS", "CONTEXT", "MODEL", "SLOTS", "serve", "write_model"]

#: What the model is called.
MODEL = "tiny"
#: Answers that it works on at the same time, and tokens that each of them may hold.
SLOTS, CONTEXT = 4, 4096

#: The same weights in every run, so that the same question gets the same gibberish.
_SEED = 20251121
_EMBEDDING, _BLOCKS, _HEADS, _FEED_FORWARD = 64, 2, 4, 128

_WORDS = (
    *(
        "hello",
        "world",
        "the",
        "of",
        "and",
        "to",
        "in",
        "is",
        "it",
        "you",
        "that",
        "he",
    ),
    *(
        "was",
        "for",
        "on",
        "are",
        "with",
        "as",
        "his",
        "they",
        "be",
        "at",
        "one",
        "have",
    ),
    *("this", "from", "or", "had", "by", "but", "some", "what", "there", "we", "can"),
)

# Without anything after the last message: llama.cpp wants grammars to match the opening
# of the answer as well, and ours would not.
_TEMPLATE = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}"


# How calls are written, from which llama.cpp makes its grammar for them.
_TEMPLATE_WITH_TOOLS = (
    "{% if tools %}{{ tools | tojson }}\n{% endif %}"
    "{% for message in messages %}<{{ message.role }}>{{ message.content or '' }}"
    "{% for call in message.tool_calls or [] %}"
    '<tool_call>{"name": "{{ call.function.name }}", '
    '"arguments": {{ call.function.arguments | tojson }}}</tool_call>'
    "{% endfor %}\n{% endfor %}"
)
_CALL_TOKEN = b"<tool_call>"
#: For a request to the model with tools: it calls at once, and ends as soon as it may. By
#: itself it would do either only by chance.
CALLS = {str(3 + 256 + 2 * len(_WORDS)): 12.0, "2": 16.0}


@contextmanager
def serve(folder: Path, *, tools: bool = False) -> Iterator[str]:
    """
    Serve the model while the block lasts; yields the server's address.

    With *tools* it is another one, which has a way to call them.
    """
    model, log = folder / "tiny.gguf", folder / "llama.log"
    write_model(model, tools=tools)
    with (
        log.open("wb") as quiet,
        subprocess.Popen(
            [sys.executable, __file__, str(model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=quiet,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = process.stdout.readline().decode()
            if not line.startswith("http"):
                shown = log.read_text("utf-8", "replace")
                raise RuntimeError(f"llama.cpp did not start:\n{shown}")
            yield line.strip()
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _run(path: str) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = path
    params.model_alias = {MODEL}
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * CONTEXT
    params.port = 0
    params.warmup = False
    params.cpuparams.n_threads = 1
    params.endpoint_slots = True
    server = xllamacpp.Server(params)
    with urlopen(f"{server.listening_address}/health", timeout=30):
        pass
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


def write_model(path: Path, *, tools: bool = False) -> None:
    """Write a llama with random weights, as a GGUF file."""
    import gguf
    import numpy

    tokens = [b"<unk>", b"<s>", b"</s>"]
    types = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    tokens += [b"<0x%02X>" % byte for byte in range(256)]
    types += [gguf.TokenType.BYTE] * 256
    # SentencePiece writes a space as U+2581.
    words = [*_WORDS, *(f"\N{LOWER ONE EIGHTH BLOCK}{word}" for word in _WORDS)]
    tokens += [word.encode() for word in words]
    types += [gguf.TokenType.NORMAL] * len(words)
    if tools:
        tokens.append(_CALL_TOKEN)
        types.append(gguf.TokenType.USER_DEFINED)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(MODEL)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_block_count(_BLOCKS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_EMBEDDING // _HEADS)
    writer.add_vocab_size(len(tokens))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(_TEMPLATE_WITH_TOOLS if tools else _TEMPLATE)

    rng = numpy.random.default_rng(_SEED)

    def noise(rows: int, columns: int) -> Any:
        return rng.normal(0, 0.3, (rows, columns)).astype(numpy.float32)

    def add(name: str, weights: Any) -> None:
        writer.add_tensor(f"{name}.weight", weights)

    ones = numpy.ones(_EMBEDDING, numpy.float32)

    add("token_embd", noise(len(tokens), _EMBEDDING))
    for n in range(_BLOCKS):
        add(f"blk.{n}.attn_norm", ones)
        add(f"blk.{n}.ffn_norm", ones)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            add(f"blk.{n}.{name}", noise(_EMBEDDING, _EMBEDDING))
        add(f"blk.{n}.ffn_gate", noise(_FEED_FORWARD, _EMBEDDING))
        add(f"blk.{n}.ffn_up", noise(_FEED_FORWARD, _EMBEDDING))
        add(f"blk.{n}.ffn_down", noise(_EMBEDDING, _FEED_FORWARD))
    add("output_norm", ones)
    output = noise(len(tokens), _EMBEDDING)
    # </s> is never the likeliest: only limits, stop sequences and grammars end an answer.
    output[2] = 0
    add("output", output)

    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    _run(sys.argv[1])
