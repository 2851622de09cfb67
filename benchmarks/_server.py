"""
A provider that costs next to nothing: the same bytes over and over, from a process of its own.

Run by the benchmarks as ``python benchmarks/_server.py DIALECT EVENTS PER_WRITE``; prints its
port. Each write is one HTTP chunk; the next one is made only when the socket takes it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

_CHAT = {
    "id": "chatcmpl-123456789012345678901234",
    "object": "chat.completion.chunk",
    "created": 1760000000,
    "model": "benchmark-model-2026-01-01",
    "system_fingerprint": "fp_0123456789",
    "choices": [
        {"index": 0, "delta": {"content": " word"}, "logprobs": None}
        | {"finish_reason": None}
    ],
    "usage": None,
}


def chat() -> tuple[bytes, bytes, bytes]:
    """One event, what begins a stream, and what ends it."""
    event = b"data: %s\n\n" % json.dumps(_CHAT, separators=(",", ":")).encode()
    last = json.dumps({**_CHAT, "choices": [{"delta": {}, "finish_reason": "stop"}]})
    return event, b"", b"data: %s\n\ndata: [DONE]\n\n" % last.encode()


def anthropic() -> tuple[bytes, bytes, bytes]:
    """The same for Messages; its events are shorter."""

    def event(kind: str, **data: object) -> bytes:
        body = json.dumps({"type": kind, **data}, separators=(",", ":"))
        return f"event: {kind}\ndata: {body}\n\n".encode()

    usage = {"input_tokens": 5, "output_tokens": 1}
    begin = event(
        "message_start",
        message={"id": "msg_1", "type": "message", "role": "assistant"}
        | {"model": "benchmark", "content": [], "stop_reason": None, "usage": usage},
    ) + event(
        "content_block_start", index=0, content_block={"type": "text", "text": ""}
    )
    delta = {"type": "text_delta", "text": " word"}
    end = (
        event("content_block_stop", index=0)
        + event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)
        + event("message_stop")
    )
    return event("content_block_delta", index=0, delta=delta), begin, end


DIALECTS = {"openai-chat": chat, "anthropic": anthropic}


async def serve(dialect: str, events: int, per_write: int) -> None:
    """Answer every POST until killed."""
    one, begin, end = DIALECTS[dialect]()
    block = one * per_write
    piece = b"%x\r\n%b\r\n" % (len(block), block)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
    head += b"transfer-encoding: chunked\r\n\r\n"
    if begin:
        head += b"%x\r\n%b\r\n" % (len(begin), begin)
    tail = b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end)

    async def connected(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                length = request.lower().split(b"content-length:")[1].split(b"\r\n")[0]
                await reader.readexactly(int(length))
                writer.write(head)
                for _ in range(events // per_write):
                    writer.write(piece)
                    await writer.drain()
                writer.write(tail)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) > 1:
        os.sched_setaffinity(0, {cores[-1]})
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
