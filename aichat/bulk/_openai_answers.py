"""Our responses as OpenAI would have put them into the output file of a batch."""

from __future__ import annotations

from typing import Any, Final

from ..types import (
    ChatResponse,
    FinishReason,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    Usage,
)

__all__ = ["chat_completion", "response_object"]

_FINISH: Final = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
}
#: Of a response that did not end by itself.
_INCOMPLETE: Final = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
}


def chat_completion(response: ChatResponse, id: str) -> dict[str, Any]:
    """The body of a Chat Completion."""
    message: dict[str, Any] = {
        "role": "assistant",
        "content": response.text or None,
        "refusal": response.refusal,
    }
    if response.reasoning:
        message["reasoning_content"] = response.reasoning
    if calls := response.message.tool_calls:
        message["tool_calls"] = [_call(call) for call in calls]
    elif response.refusal is None:
        message["content"] = response.text
    reason = response.finish_reason
    finish = _FINISH.get(reason) if reason is not None else None
    return {
        "id": response.id or id,
        "object": "chat.completion",
        "created": _whole(response.created_at),
        "model": response.model,
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": None,
                # What has no word of theirs keeps the provider's own.
                "finish_reason": finish or response.raw_finish_reason,
            }
        ],
        "usage": _chat_usage(response.usage),
    }


def response_object(response: ChatResponse, id: str) -> dict[str, Any]:
    """The body of an object of Responses."""
    reason = response.finish_reason
    why = _INCOMPLETE.get(reason) if reason is not None else None
    return {
        "id": response.id or id,
        "object": "response",
        "created_at": _whole(response.created_at),
        "status": "incomplete" if why else "completed",
        "error": None,
        "incomplete_details": {"reason": why} if why else None,
        "model": response.model,
        "output": _output(response, id),
        "usage": _responses_usage(response.usage),
    }


def _call(call: ToolCallPart) -> dict[str, Any]:
    if call.kind == "custom":
        custom = {"name": call.name, "input": call.arguments}
        return {"id": call.id, "type": "custom", "custom": custom}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _output(response: ChatResponse, id: str) -> list[dict[str, Any]]:
    output: list[dict[str, Any]] = []
    content: list[dict[str, Any]] = []
    for part in response.message.content:
        match part:
            case TextPart(text):
                said = {"type": "output_text", "text": text, "annotations": []}
            case RefusalPart(text):
                said = {"type": "refusal", "refusal": text}
            case ReasoningPart(text):
                summary = [{"type": "summary_text", "text": text}] if text else []
                name = f"rs_{id}_{len(output)}"
                output.append({"id": name, "type": "reasoning", "summary": summary})
                content = []
                continue
            case ToolCallPart():
                output.append(_call_item(part, f"fc_{id}_{len(output)}"))
                content = []
                continue
            case _:
                continue  # what they have no place for; our own form has it
        if not content:
            output.append({
                "id": f"msg_{id}_{len(output)}",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": content,
            })
        content.append(said)
    return output


def _call_item(call: ToolCallPart, id: str) -> dict[str, Any]:
    head = {"id": id, "call_id": call.id, "name": call.name, "status": "completed"}
    if call.kind == "custom":
        return {**head, "type": "custom_tool_call", "input": call.arguments}
    return {**head, "type": "function_call", "arguments": call.arguments}


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _chat_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _responses_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "input_tokens_details": {"cached_tokens": usage.cache_read_tokens},
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
