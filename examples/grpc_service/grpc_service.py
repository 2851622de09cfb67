"""
A gRPC service that streams answers, and a client that leaves one early.

    pip install grpcio grpcio-tools
    python examples/grpc_service/grpc_service.py

``chat.proto`` beside this script is compiled when it is imported; a larger project would
generate the code once, with ``python -m grpc_tools.protoc``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import grpc
from attrs import frozen

from aichat import (
    AIChatError,
    ChatStream,
    Client,
    Deadlines,
    ErrorCode,
    ResponseEnd,
    TextDelta,
)
from aichat.testing import Simulator

# Looked up along `sys.path`, where the folder of a script comes first.
pb, services = grpc.protos_and_services("chat.proto")

#: What a caller should know. All that is not here is our own trouble: INTERNAL.
STATUS: Final[Mapping[ErrorCode, grpc.StatusCode]] = {
    ErrorCode.INVALID_INPUT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.CONTEXT_LENGTH_EXCEEDED: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorCode.MODEL_UNSUPPORTED: grpc.StatusCode.NOT_FOUND,
    ErrorCode.RATE_LIMIT: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.QUOTA_EXCEEDED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCode.REQUEST_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorCode.PROVIDER_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorCode.STREAM_INTERRUPTED: grpc.StatusCode.UNAVAILABLE,
}


@frozen
class Chat:
    """The service of ``chat.proto``."""

    client: Client

    async def Ask(self, question: Any, context: Any) -> None:
        """
        Answer *question*, for as long as somebody listens.

        A caller who cancels cancels this coroutine, wherever it waits, and the ``async
        with`` hangs up on the provider. Hence `context.write`: a generator that is left at
        its ``yield`` would be closed by and by.
        """
        try:
            stream = self.client.stream(
                question.prompt,
                model=question.model or "simulated",
                # The caller's own deadline, if there is one.
                deadlines=Deadlines(total=context.time_remaining()),
            )
            async with stream:
                await self._relay(stream, context)
        except AIChatError as error:
            status = STATUS.get(error.code, grpc.StatusCode.INTERNAL)
            await context.abort(status, f"{error.code}: {error.message}")

    async def _relay(self, stream: ChatStream, context: Any) -> None:
        async for chunk in stream:
            match chunk:
                case TextDelta(text):
                    await context.write(pb.Piece(text=text))
                case ResponseEnd(finish_reason):
                    usage = stream.partial().usage
                    end = pb.End(
                        finish_reason=finish_reason,
                        input_tokens=usage.input_tokens or 0,
                        output_tokens=usage.output_tokens or 0,
                    )
                    await context.write(pb.Piece(end=end))
                case _:
                    pass


async def serve(client: Client, address: str = "127.0.0.1:0") -> tuple[Any, str]:
    """Start a server; return it with the address that it got."""
    server = grpc.aio.server()
    services.add_ChatServicer_to_server(Chat(client), server)
    port = server.add_insecure_port(address)
    await server.start()
    return server, f"127.0.0.1:{port}"


async def main() -> None:
    """Read one answer to its end, leave another one, and ask for what there is not."""
    async with Simulator(pace=0.002) as simulator:
        environ = {
            "AI_PROVIDER": "openai-chat",
            "AI_API_KEY": "none-needed",
            "AI_BASE_URL": simulator.base_url("openai-chat"),
        }
        async with Client.from_env(environ) as client:
            server, address = await serve(client)
            try:
                async with grpc.aio.insecure_channel(address) as channel:
                    await ask(services.ChatStub(channel), simulator)
            finally:
                # Those who are being answered have five seconds.
                await server.stop(grace=5)


async def ask(chat: Any, simulator: Simulator) -> None:
    """Be a client."""
    async for piece in chat.Ask(pb.Question(prompt="Hello!"), timeout=30):
        if piece.WhichOneof("kind") == "text":
            print(piece.text, end="")
        else:
            end = piece.end
            print(f"\n[{end.finish_reason}, {end.output_tokens} tokens]")

    call = chat.Ask(pb.Question(prompt="Count to 100000."))
    async for _ in call:
        call.cancel()
        break
    await simulator.idle()
    print(f"[{simulator.disconnects} answer was left, and ended at the provider]")

    try:
        async for _ in chat.Ask(pb.Question(prompt="Hi", model="nobody:any")):
            pass
    except grpc.aio.AioRpcError as error:
        print(f"[{error.code().name}: {error.details()}]")


if __name__ == "__main__":
    asyncio.run(main())
