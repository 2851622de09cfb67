"""
Vendors that imitate OpenAI's Chat Completions: one row each.

How they differ is in their `Quirks`. A vendor that needs more than data gets a file.
``openai-compatible`` is for everybody else: it takes a base URL and assumes the best.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from ..errors import (
    BadRequestError,
    ProviderUnavailableError,
    QuotaExceededError,
    RateLimitError,
)
from ..transport import HTTPRequest
from ..types import DEFAULT_DEADLINES, Effort
from ._base import Capability, ProviderSpec
from .openai_chat import EmbeddingQuirks, Quirks, chat_spec

__all__ = ["LLAMA_CPP", "ROWS", "SPECS"]

# What only OpenAI keeps or counts.
_BOOKS = "store metadata service_tier verbosity"
# Local servers take their time: they load the model when it is first asked for.
_PATIENT = evolve(DEFAULT_DEADLINES, first_byte=600)
# Those whose reasoning can only be switched on and off.
_ON_OFF = (Effort.NONE, Effort.MEDIUM)

LLAMA_CPP = Quirks(
    refuses=f"user cache_key {_BOOKS}",
    documents=False,
    prefill={},
    # Its grammar for the schema takes the place of the one for calls.
    schema_with_tools=False,
    replay="reasoning_content",
)

ROWS: tuple[ProviderSpec, ...] = (
    chat_spec(
        name="openai-compatible",
        title="OpenAI-compatible server",
        description="Any server that speaks Chat Completions, at a base URL of yours.",
        base_url_env=("OPENAI_COMPATIBLE_BASE_URL",),
        api_key_env=("OPENAI_COMPATIBLE_API_KEY",),
        requires_key=False,
        embeddings=EmbeddingQuirks(),
        adds={Capability.IMAGES},
    ),
    chat_spec(
        name="groq",
        title="Groq",
        docs="https://console.groq.com/docs/openai",
        base_url="https://api.groq.com/openai/v1",
        api_key_env=("GROQ_API_KEY",),
        quirks=Quirks(
            token_limit="max_completion_tokens",
            # Usage comes by itself, in the last chunk.
            stream_options=False,
            refuses="logit_bias logprobs top_logprobs top_k store metadata verbosity "
            "cache_key",
            documents=False,
            shows_reasoning="include_reasoning",
            replay="reasoning",
        ),
        error_codes={"tool_use_failed": BadRequestError},
        adds={Capability.IMAGES},
        models=("openai/gpt-oss-120b", "openai/gpt-oss-20b", "qwen/qwen3.8-27b"),
    ),
    chat_spec(
        name="openrouter",
        title="OpenRouter",
        docs="https://openrouter.ai/docs/api-reference/overview",
        base_url="https://openrouter.ai/api/v1",
        api_key_env=("OPENROUTER_API_KEY",),
        setting_headers={"site_url": "http-referer", "app_name": "x-title"},
        quirks=Quirks(
            stream_options=False,
            refuses="store metadata service_tier cache_key",
            document_urls=True,
            cache="cache_control",
            prefill={},
            reasoning="reasoning",
            shows_reasoning="exclude",
        ),
        # Its list of models is open to everybody; this needs the key.
        health_check=HTTPRequest("/key", method="GET"),
        embeddings=EmbeddingQuirks(),
        adds={
            Capability.IMAGES,
            Capability.AUDIO,
            Capability.DOCUMENTS,
            Capability.CITATIONS,
            Capability.PROMPT_CACHING,
        },
        models=(
            "openai/gpt-6-sol",
            "anthropic/claude-sonnet-5.5",
            "deepseek/deepseek-v4-pro",
            "moonshotai/kimi-k3",
        ),
    ),
    chat_spec(
        name="deepseek",
        title="DeepSeek",
        docs="https://api-docs.deepseek.com",
        base_url="https://api.deepseek.com",
        api_key_env=("DEEPSEEK_API_KEY",),
        quirks=Quirks(
            refuses=f"top_k seed logit_bias user cache_key parallel_tool_calls {_BOOKS}",
            json_schema=False,
            strict_tools=False,
            documents=False,
            reasoning="thinking",
            efforts=_ON_OFF,
            # Wanted on every message of a tool loop, refused before it.
            replay="reasoning_content",
        ),
        adds={Capability.PROMPT_CACHING},
        lacks={Capability.JSON_SCHEMA},
        models=("deepseek-v4-pro", "deepseek-v4-flash"),
    ),
    chat_spec(
        name="mistral",
        title="Mistral",
        docs="https://docs.mistral.ai/api",
        base_url="https://api.mistral.ai/v1",
        api_key_env=("MISTRAL_API_KEY",),
        quirks=Quirks(
            stream_options=False,
            refuses=f"top_k logit_bias logprobs top_logprobs user cache_key {_BOOKS}",
            seed="random_seed",
            required="any",
            # Older versions refuse ids that are not like their own.
            call_id="[a-zA-Z0-9]{9}",
            names=False,
            document_urls=True,
            prefill={"prefix": True},
            replay="parts",
            replay_scope="always",
        ),
        embeddings=EmbeddingQuirks(dimensions="output_dimension", user=False),
        adds={Capability.IMAGES, Capability.DOCUMENTS},
        models=("mistral-large-4", "mistral-medium-3.5", "mistral-small-latest"),
    ),
    chat_spec(
        name="xai",
        title="xAI",
        docs="https://docs.x.ai/docs/api-reference",
        base_url="https://api.x.ai/v1",
        api_key_env=("XAI_API_KEY",),
        quirks=Quirks(
            token_limit="max_completion_tokens",
            refuses=f"top_k cache_key {_BOOKS}",
            strict_tools=False,
            names=False,
            documents=False,
        ),
        adds={Capability.IMAGES, Capability.CITATIONS},
        models=("grok-4.7", "grok-4.6", "grok-4.3"),
    ),
    chat_spec(
        name="together",
        title="Together AI",
        docs="https://docs.together.ai/reference/chat-completions-1",
        base_url="https://api.together.xyz/v1",
        api_key_env=("TOGETHER_API_KEY", "TOGETHER_AI_API_KEY"),
        quirks=Quirks(
            refuses=f"user cache_key {_BOOKS}",
            documents=False,
            reasoning="reasoning.enabled",
            efforts=_ON_OFF,
        ),
        embeddings=EmbeddingQuirks(user=False),
        adds={Capability.IMAGES},
        models=("openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V4-Flash"),
    ),
    chat_spec(
        name="fireworks",
        title="Fireworks AI",
        docs="https://docs.fireworks.ai/api-reference/post-chatcompletions",
        base_url="https://api.fireworks.ai/inference/v1",
        api_key_env=("FIREWORKS_API_KEY",),
        quirks=Quirks(
            refuses=f"cache_key {_BOOKS}",
            strict_tools=False,
            required="any",
            documents=False,
        ),
        embeddings=EmbeddingQuirks(),
        adds={Capability.IMAGES},
        models=("accounts/fireworks/models/gpt-oss-120b",),
    ),
    chat_spec(
        name="perplexity",
        title="Perplexity",
        docs="https://docs.perplexity.ai/api-reference",
        base_url="https://api.perplexity.ai",
        api_key_env=("PERPLEXITY_API_KEY",),
        quirks=Quirks(
            stream_options=False,
            refuses="seed stop logit_bias logprobs top_logprobs user cache_key "
            f"parallel_tool_calls {_BOOKS}",
            tools=False,
            json_object=False,
            documents=False,
            think_tags=True,
        ),
        # It lists no models.
        health_check=None,
        listing=None,
        adds={Capability.IMAGES, Capability.CITATIONS},
        lacks={Capability.TOOLS, Capability.PARALLEL_TOOLS},
        models=("sonar", "sonar-pro", "sonar-reasoning-pro", "sonar-deep-research"),
    ),
    chat_spec(
        name="moonshotai",
        title="Moonshot AI",
        docs="https://platform.moonshot.ai/docs",
        base_url="https://api.moonshot.ai/v1",
        api_key_env=("MOONSHOT_API_KEY", "MOONSHOTAI_API_KEY"),
        quirks=Quirks(
            refuses=f"top_k seed logit_bias logprobs top_logprobs user {_BOOKS}",
            required=None,
            documents=False,
            prefill={"partial": True},
            reasoning="thinking",
            efforts=_ON_OFF,
            replay="reasoning_content",
        ),
        adds={Capability.IMAGES},
        models=("kimi-k3", "k3.1-pro", "kimi-k2.6"),
    ),
    chat_spec(
        name="cerebras",
        title="Cerebras",
        docs="https://inference-docs.cerebras.ai/api-reference/chat-completions",
        base_url="https://api.cerebras.ai/v1",
        api_key_env=("CEREBRAS_API_KEY",),
        quirks=Quirks(
            token_limit="max_completion_tokens",
            refuses="top_k presence_penalty frequency_penalty logit_bias store metadata "
            "verbosity cache_key",
            documents=False,
            replay="reasoning",
        ),
        # By the minute, all three.
        error_codes={
            "request_quota_exceeded": RateLimitError,
            "token_quota_exceeded": RateLimitError,
            "queue_exceeded": ProviderUnavailableError,
        },
        models=("gpt-oss-120b", "gemma-4-31b"),
    ),
    chat_spec(
        name="zai",
        title="Z.ai",
        docs="https://docs.z.ai/api-reference/llm/chat-completion",
        base_url="https://api.z.ai/api/paas/v4",
        api_key_env=("ZAI_API_KEY", "ZHIPUAI_API_KEY"),
        quirks=Quirks(
            # Usage comes by itself, in the last chunk.
            stream_options=False,
            refuses="top_k seed presence_penalty frequency_penalty logit_bias logprobs "
            f"top_logprobs cache_key parallel_tool_calls {_BOOKS}",
            required=None,
            named_choice=False,
            json_schema=False,
            documents=False,
            reasoning="thinking",
            efforts=_ON_OFF,
            replay="reasoning_content",
        ),
        error_codes={"1113": QuotaExceededError, "1302": RateLimitError},
        embeddings=EmbeddingQuirks(user=False, max_inputs=64),
        adds={Capability.IMAGES},
        lacks={Capability.JSON_SCHEMA},
        models=("glm-4.7", "glm-4.7-flash"),
    ),
    chat_spec(
        name="alibaba",
        title="Alibaba Model Studio",
        docs="https://www.alibabacloud.com/help/en/model-studio/qwen-api-reference",
        base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        api_key_env=("DASHSCOPE_API_KEY", "ALIBABA_API_KEY"),
        quirks=Quirks(
            refuses=f"logit_bias user cache_key {_BOOKS}",
            audio_url=True,
            documents=False,
            reasoning="enable_thinking",
            efforts=_ON_OFF,
        ),
        embeddings=EmbeddingQuirks(user=False, max_inputs=10),
        adds={Capability.IMAGES, Capability.AUDIO},
        models=("qwen3-max", "qwen-plus", "qwen-flash"),
    ),
    chat_spec(
        name="deepinfra",
        title="DeepInfra",
        docs="https://deepinfra.com/docs/openai_api",
        base_url="https://api.deepinfra.com/v1/openai",
        api_key_env=("DEEPINFRA_API_KEY",),
        quirks=Quirks(refuses="store metadata verbosity cache_key", documents=False),
        embeddings=EmbeddingQuirks(),
        adds={Capability.IMAGES},
        models=("openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V4-Flash"),
    ),
    chat_spec(
        name="huggingface",
        title="Hugging Face router",
        docs="https://huggingface.co/docs/inference-providers",
        base_url="https://router.huggingface.co/v1",
        api_key_env=("HF_TOKEN",),
        quirks=Quirks(refuses="store metadata verbosity cache_key", documents=False),
        adds={Capability.IMAGES},
        models=("openai/gpt-oss-120b", "deepseek-ai/DeepSeek-V4-Flash"),
    ),
    chat_spec(
        name="github",
        title="GitHub Models",
        docs="https://docs.github.com/github-models",
        base_url="https://models.github.ai/inference",
        api_key_env=("GITHUB_TOKEN",),
        quirks=Quirks(refuses="store metadata verbosity cache_key", documents=False),
        health_check=None,
        listing=None,
        embeddings=EmbeddingQuirks(),
        adds={Capability.IMAGES},
        models=("openai/gpt-4.1", "openai/gpt-4.1-mini"),
    ),
    chat_spec(
        name="snowflake",
        title="Snowflake Cortex",
        description="At the base URL of your account: https://…/api/v2/cortex/v1",
        docs="https://docs.snowflake.com/user-guide/snowflake-cortex/cortex-rest-api",
        base_url_env=("SNOWFLAKE_BASE_URL",),
        api_key_env=("SNOWFLAKE_TOKEN",),
        quirks=Quirks(
            token_limit="max_completion_tokens",
            refuses="store metadata verbosity cache_key",
            documents=False,
        ),
        health_check=None,
        listing=None,
        adds={Capability.IMAGES},
        models=("claude-sonnet-4-6",),
    ),
    chat_spec(
        name="vllm",
        title="vLLM",
        docs="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        base_url="http://localhost:8000/v1",
        base_url_env=("VLLM_BASE_URL",),
        api_key_env=("VLLM_API_KEY",),
        requires_key=False,
        quirks=Quirks(
            refuses="store metadata service_tier verbosity cache_key",
            documents=False,
            replay="reasoning",
        ),
        embeddings=EmbeddingQuirks(),
        adds={Capability.IMAGES, Capability.AUDIO},
    ),
    chat_spec(
        name="lmstudio",
        title="LM Studio",
        docs="https://lmstudio.ai/docs/developer/openai-compat",
        base_url="http://localhost:1234/v1",
        base_url_env=("LM_STUDIO_BASE_URL",),
        api_key_env=("LM_STUDIO_API_KEY",),
        requires_key=False,
        quirks=Quirks(
            refuses=f"user cache_key {_BOOKS}", json_object=False, documents=False
        ),
        deadlines=_PATIENT,
        embeddings=EmbeddingQuirks(),
        adds={Capability.IMAGES},
    ),
    chat_spec(
        name="llamacpp",
        title="llama.cpp",
        docs="https://github.com/ggml-org/llama.cpp/tree/master/tools/server",
        base_url="http://127.0.0.1:8080/v1",
        base_url_env=("LLAMACPP_BASE_URL",),
        api_key_env=("LLAMACPP_API_KEY",),
        requires_key=False,
        quirks=LLAMA_CPP,
        deadlines=_PATIENT,
        embeddings=EmbeddingQuirks(),
        adds={Capability.IMAGES, Capability.AUDIO},
    ),
    chat_spec(
        name="litellm",
        title="LiteLLM proxy",
        description="Hands everything on, to whatever it is configured for.",
        docs="https://docs.litellm.ai/docs/simple_proxy",
        base_url="http://localhost:4000",
        base_url_env=("LITELLM_BASE_URL",),
        api_key_env=("LITELLM_API_KEY",),
        requires_key=False,
        quirks=Quirks(cache="cache_control", prefill={}, replay="reasoning_content"),
        error_codes={"budget_exceeded": QuotaExceededError},
        embeddings=EmbeddingQuirks(),
        adds={Capability.IMAGES, Capability.DOCUMENTS, Capability.PROMPT_CACHING},
    ),
)

SPECS: Mapping[str, ProviderSpec] = {spec.name: spec for spec in ROWS}
