"""What model servers report in errors: wordings, shapes and delays, from their sources and from
public bug reports."""

from __future__ import annotations

import json
import time
from email.utils import formatdate
from typing import Any

import pytest

from agentkit.backends.faults import header_delay, is_fault, is_too_long, read_fault, retry_delay

TOO_LONG = {
    "OpenAI": "This model's maximum context length is 8192 tokens. However, your messages resulted "
    "in 10010 tokens. Please reduce the length of the messages.",
    "OpenAI, code": "context_length_exceeded",
    "OpenAI, gpt-5": "Your input exceeds the context window of this model. Please adjust your "
    "input "
    "and try again.",
    "OpenAI, input limit": "Input tokens exceed the configured limit of 272000 tokens. Your "
    "messages resulted in 300010 tokens. Please reduce the length of the messages.",
    "OpenAI, tokens per minute": "Request too large for gpt-4o in organization org-x on tokens per "
    "min (TPM): Limit 30000, Requested 40010. The input or output tokens must be reduced in order "
    "to run successfully.",
    "Azure": "This model's maximum context length is 16385 tokens. However, you requested 17010 "
    "tokens (16010 in the messages, 1000 in the completion).",
    "Anthropic": "prompt is too long: 208310 tokens > 200000 maximum",
    "Anthropic, with max_tokens": "input length and `max_tokens` exceed context limit: 188240 + "
    "21333 > 200000, decrease input length or `max_tokens` and try again",
    "Bedrock": "Input is too long for requested model.",
    "vLLM": "This model's maximum context length is 4096 tokens. However, you requested 4610 "
    "tokens "
    "(4098 in the messages, 512 in the completion).",
    "vLLM, decoder": "The decoder prompt (length 5010) is longer than the maximum model length of "
    "4096. Make sure that `max_model_len` is no smaller than the number of text tokens.",
    "vLLM, max_tokens": "'max_tokens' or 'max_completion_tokens' is too large: 512. This model's "
    "maximum context length is 4096 tokens and your request has 3990 input tokens (512 > 4096 - "
    "3990).",
    "vLLM, new": "You passed 5010 input tokens and requested 100 output tokens. However, the "
    "model's context length is only 4096 tokens, resulting in a maximum input length of 3996.",
    "SGLang": "The input (5010 tokens) is longer than the model's context length (4096 tokens).",
    "SGLang, total": "Requested token count exceeds the model's maximum context length of 4096 "
    "tokens. You requested a total of 5010 tokens.",
    "SGLang, allowed": "Input length (5010 tokens) exceeds the maximum allowed length (4090 "
    "tokens). Use a shorter input or enable --allow-auto-truncate.",
    "TGI": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: "
    "4010 "
    "`inputs` tokens and 100 `max_new_tokens`",
    "TGI, inputs": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2010",
    "llama.cpp": "the request exceeds the available context size. try increasing the context size "
    "or enable context shift",
    "llama.cpp, counted": "request (5010 tokens) exceeds the available context size (4096 tokens), "
    "try increasing it exceed_context_size_error",
    "llama.cpp, while writing": "Context size has been exceeded.",
    "llama-cpp-python": "Requested tokens (5010) exceed context window of 4096",
    "LM Studio": "The number of tokens to keep from the initial prompt is greater than the context "
    "length. Try to load the model with a larger context length, or provide a shorter input",
    "LM Studio, new": "Trying to keep the first 5010 tokens when context the overflows. However, "
    "the model is loaded with context length of only 4096 tokens, which is not enough.",
    "LM Studio, MLX": "Reached context length of 4096 tokens with this model, but this model does "
    "not currently support mid-generation context overflow because it is a hybrid",
    "Mistral": "Prompt contains 40010 tokens and 0 draft tokens, too large for model with 32768 "
    "maximum context length",
    "Gemini": "The input token count (1200010) exceeds the maximum number of tokens allowed "
    "(1048576).",
    "Gemini, Vertex": "Unable to submit request because the input token count is 33010 but model "
    "only supports up to 32768. Reduce the input token count and try again.",
    "DashScope": "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, "
    "129024]",
    "Zhipu": "1261 Prompt exceeds max length",
    "Zhipu, Chinese": "1261 Prompt 超长",
    "Moonshot": "Invalid request: Your request exceeded model token limit: 8192 (requested: 9010)",
    "Groq": "Please reduce the length of the messages or completion.",
    "Groq, tokens per minute": "Request too large for model `llama-3.1-8b-instant` in organization "
    "`org_x` on tokens per minute (TPM): Limit 6000, Requested 7010, please reduce your message "
    "size and try again.",
    "Together": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. "
    "Given: "
    "9010 `inputs` tokens and 0 `max_new_tokens`",
    "Together, new": "The input (9010 tokens) is longer than the model's context length (8192 "
    "tokens).",
    "Ollama": "input length exceeds maximum context length",
    "Ollama, new": "the input length exceeds the context length",
    "Ollama, cloud": "prompt too long; exceeded max context length by 1010 tokens",
    "KoboldCpp": "Error: The prompt is too long for the context size: 5010 > 4096",
    "HF": "This model's maximum context length is 4096 tokens, but 5010 were given",
    "HF, transformers": "Input length of input_ids is 5010, but `max_length` is set to 4096. The "
    "input length exceeds the maximum",
    "Cohere": "too many tokens: total number of tokens in the prompt exceeds the limit of 4081. "
    "Try "
    "using a shorter prompt",
    "xAI": "This model's maximum prompt length is 131072 but the request contains 150010 tokens.",
    "DeepSeek": "This model's maximum context length is 65536 tokens. However, you requested 70010 "
    "tokens (62010 in the messages, 8000 in the completion).",
    "OpenRouter": "This endpoint's maximum context length is 32768 tokens. However, you requested "
    "about 40010 tokens (40010 of text input). Please reduce the length of either one.",
    "MiniMax": "invalid params, context window exceeds limit (2013)",
    "Fireworks": "The prompt is too long: 40010, model maximum context length: 32767",
    "SiliconFlow": "length of prompt_tokens (40010) must be less than max_seq_len (32768).",
    "Volcengine": "Total tokens of image and text exceed max message tokens. Request id: x",
    "Volcengine, new": "Input length 140010 exceeds the maximum length 131072.",
    "Cerebras": "Please reduce the length of the messages or completion. Current length is 9010 "
    "while limit is 8192",
    "GitHub Models": "tokens_limit_reached Request body too large for gpt-4o model. Max size: 8000 "
    "tokens.",
    "watsonx": "the number of input tokens 5010 cannot exceed the total tokens limit 4096 for this "
    "model",
    "TensorRT-LLM": "Prompt length (5010) exceeds maximum input length (4096)",
    "TensorRT-LLM, sum": "default_max_tokens (-914) must be greater than 0, default_max_tokens "
    "(-914) = max_seq_len (4096) - splited_prompt_len (5010) - query_token_len (0): prompt_len - "
    "max_seq_len",
    "TabbyAPI": "Context length 5010 is greater than max_seq_len 4096",
    "MLC": "Request prompt has 5010 tokens in total, larger than the model input length limit "
    "4096.",
    "LiteLLM": "litellm.ContextWindowExceededError: litellm.BadRequestError: too much",
    "Copilot": "prompt token count of 150010 exceeds the limit of 128000 model_max_prompt_tokens_"
    "exceeded",
}  # fmt: skip


@pytest.mark.parametrize("message", TOO_LONG.values(), ids=TOO_LONG)
def test_a_prompt_that_is_too_long_is_recognised(message: str) -> None:
    assert is_too_long(message)


OTHERS = {
    "output limit": "max_tokens is too large: 100000. This model supports at most 16384 completion "
    "tokens, whereas you provided 100000.",
    "output limit, Anthropic": "max_tokens: 100000 > 8192, which is the maximum allowed number of "
    "output tokens for claude-3-5-sonnet",
    "output limit, DeepSeek": "Invalid max_tokens value, the valid range of max_tokens is [1, "
    "8192]",
    "rate limit": "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): "
    "Limit 30000, Used 29000, Requested 2000. Please try again in 1.2s.",
    "daily limit": "Rate limit reached on tokens per day (TPD): Limit 100000, Used 99000",
    "too many requests": "Too many requests. Your tokens per minute are used up, try later",
    "a long name": "Invalid 'tools[0].function.name': string too long. Expected a string with "
    "maximum length 64, but got a string with length 70 instead. string_above_max_length",
    "quota": "You exceeded your current quota, please check your plan and billing details.",
    "a parameter": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
    "'max_completion_tokens' instead.",
    "a role": "Conversation roles must alternate user/assistant/user/assistant/...",
    "an image": "The image is too large: 30 MB",
    "a template": "Failed to parse the chat template at row 30, column 12",
    "a call": "Failed to call a function. Please adjust your prompt.",
    "overloaded": "The engine is currently overloaded, please try again later",
    "memory": "CUDA out of memory. Tried to allocate 2.00 GiB",
    "a key": "Incorrect API key provided",
    "a model": "The model `x` does not exist or you do not have access to it.",
}  # fmt: skip


@pytest.mark.parametrize("message", OTHERS.values(), ids=OTHERS)
def test_other_errors_are_not_about_the_context(message: str) -> None:
    assert not is_too_long(message)


BODIES: dict[str, tuple[Any, str]] = {
    "OpenAI": ({"error": {"message": "no", "type": "t", "code": None}}, "no"),
    "text under error": ({"error": "no"}, "no"),
    "a list, Gemini": ([{"error": {"code": 400, "message": "no", "status": "INVALID"}}], "no"),
    "FastAPI, text": ({"detail": "no"}, "no"),
    "FastAPI, list": (
        {"detail": [{"loc": ["body", "messages", 0], "msg": "field required", "type": "missing"}]},
        "body.messages.0: field required"),
    "vLLM": ({"object": "error", "message": "no", "type": "BadRequestError", "code": 400}, "no"),
    "code and message": ({"code": 20012, "message": "no", "data": None}, "no"),
    "DashScope": ({"code": "InvalidParameter", "message": "<400> Internal: no", "request_id": "r"},
                  "<400> Internal: no"),
    "MiniMax": ({"base_resp": {"status_code": 1008, "status_msg": "no"}}, "no"),
    "Baidu": ({"error_code": 336003, "error_msg": "no"}, "no"),
    "FastChat": ({"object": "error", "message": "no", "code": 50001}, "no"),
    "TGI": ({"error": "no", "error_type": "validation"}, "no"),
    "Hugging Face": ({"error": ["no", "never"]}, "no; never"),
    "Cloudflare": ({"success": False, "errors": [{"code": 5007, "message": "no"}]}, "no"),
    "OpenRouter": (
        {"error": {"message": "Provider returned error", "code": 400, "metadata": {
            "raw": '{"error": {"message": "no"}}', "provider_name": "X"}}},
        "Provider returned error: no"),
    "JSON in the message": ({"error": {"message": '{"error": {"message": "no"}}'}}, "no"),
    "an object under detail": ({"detail": {"error": {"message": "no"}}}, "no"),
    "text": ("upstream connect error", "upstream connect error"),
    "a page": ("<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head></html>",
               "502 Bad Gateway"),
    "a page of nginx": ("<html>\r\n<head><title>504 Gateway Time-out</title></head></html>",
                        "504 Gateway Time-out"),
    "nothing": ("", ""),
    "an empty object": ({}, ""),
}  # fmt: skip


@pytest.mark.parametrize("is_text", [False, True], ids=["decoded", "as text"])
@pytest.mark.parametrize(("body", "message"), BODIES.values(), ids=BODIES)
def test_the_message_of_a_server_is_found(body: Any, message: str, is_text: bool) -> None:
    given = json.dumps(body) if is_text and not isinstance(body, str) else body
    assert read_fault(given).message == message


@pytest.mark.parametrize(
    "chunk",
    [
        {"error": {"message": "no"}},
        {"error": "no"},
        {"code": 500, "message": "no"},
        {"object": "error", "message": "no"},
        {"type": "error", "error": {"type": "overloaded_error", "message": "no"}},
        {"detail": "no"},
        {"choices": [], "error": {"message": "no", "code": 502}},
        {"choices": [{"delta": {}, "finish_reason": "error", "error": {"message": "no"}}]},
        {"base_resp": {"status_code": 1008, "status_msg": "no"}, "choices": None},
        {"error_code": 336003, "error_msg": "no"},
    ],
    ids=str,
)
def test_a_chunk_that_reports_an_error_is_one(chunk: Any) -> None:
    assert is_fault(chunk)
    assert read_fault(chunk).message == "no"


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": [{"delta": {"content": "a"}}], "error": None},
        {"choices": [], "usage": {"prompt_tokens": 1}},
        {"choices": [{"message": {"content": "a"}}], "base_resp": {"status_code": 0}},
        {"choices": [], "prompt_filter_results": []},
        {"type": "ping"},
        {"id": "x", "object": "chat.completion.chunk", "choices": []},
        {"usage": {"prompt_tokens": 1}, "message": ""},
        "text",
        [],
    ],
    ids=str,
)
def test_a_chunk_that_reports_none_is_none(chunk: Any) -> None:
    assert not is_fault(chunk)


NO_QUOTA = [
    {"error": {"code": "insufficient_quota", "message": "You exceeded your current quota"}},
    {"error": {"message": "Insufficient Balance", "type": "unknown_error"}},
    {"error": {"code": "1113", "message": "余额不足或无可用资源包,请充值。"}},
    {"error": {"type": "exceeded_current_quota_error", "message": "suspended"}},
    {"code": "Arrearage", "message": "Access denied, please make sure your account is in good"},
    {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
    {"error": {"message": "Your credit balance is too low to access the API."}},
    {"error": {"message": "This request requires more credits, or fewer max_tokens.", "code": 402}},
    {"error": {"message": "用户额度不足", "type": "new_api_error"}},
    {"code": 30001, "message": "Sorry, your account balance is insufficient"},
]


@pytest.mark.parametrize("body", NO_QUOTA, ids=str)
def test_an_account_without_quota_is_recognised(body: Any) -> None:
    assert read_fault(body).is_out_of_quota


def test_a_quota_that_renews_is_a_delay() -> None:
    """Gemini words its limits per minute as a quota that is used up."""
    fault = read_fault(
        [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "You exceeded your "
                    "current quota, please check your plan. Please retry in 34.07s.",
                    "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo",
                                 "retryDelay": "34s"}]}}]
    )  # fmt: skip
    assert (fault.delay, fault.is_out_of_quota, fault.status) == (34.0, False, 429)


DELAYS = {
    "OpenAI, seconds": ("Rate limit reached. Please try again in 1.2s. Visit https://x", 1.2),
    "OpenAI, milliseconds": ("Limit 10, Used 9. Please try again in 120ms.", 0.12),
    "OpenAI, minutes": ("Please try again in 1m26.4s.", 86.4),
    "OpenAI, hours": ("Please try again in 6h3m0s.", 21780.0),
    "Gemini": ("Quota exceeded. Please retry in 34.074824224s.", 34.074824224),
    "Azure": ("Please retry after 23 seconds.", 23.0),
    "Azure, one": ("Try again in 1 second.", 1.0),
    "Django": ("Request was throttled. Expected available in 12 seconds.", 12.0),
    "a wait": ("Too many requests, please wait 30 sec", 30.0),
    "minutes": ("Please wait 2 minutes before you retry", 120.0),
    "none": ("Too many requests", None),
    "a number of something else": ("Please retry with fewer than 5 messages", None),
}


@pytest.mark.parametrize(("message", "delay"), DELAYS.values(), ids=DELAYS)
def test_a_delay_is_read_from_the_message(message: str, delay: float | None) -> None:
    assert read_fault({"error": {"message": message}}).delay == delay


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "busy", "retry_after": 12}},
        {"error": {"message": "busy", "metadata": {"retry_after_seconds": 12}}},
        {"error": "Model x is currently loading", "estimated_time": 12.0},
        {"error": {"message": "busy", "metadata": {"headers": {"Retry-After": "12"}}}},
        {"error": {"message": "busy", "metadata": {"headers": {"X-RateLimit-Remaining": "0",
                                                              "X-RateLimit-Reset": "12"}}}},
    ],
    ids=str,
)  # fmt: skip
def test_a_delay_is_read_from_the_fields_of_a_body(body: Any) -> None:
    assert read_fault(body).delay == 12.0


HEADERS: dict[str, tuple[dict[str, str], float | None]] = {
    "seconds": ({"retry-after": "3"}, 3.0),
    "milliseconds": ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
    "requests are used up": (
        {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "2s",
         "x-ratelimit-remaining-tokens": "900", "x-ratelimit-reset-tokens": "6m0s"}, 2.0),
    "tokens are used up": (
        {"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "1s",
         "x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "120ms"}, 0.12),
    "nothing is used up": (
        {"x-ratelimit-remaining-requests": "9", "x-ratelimit-reset-requests": "1s"}, None),
    "not a number": ({"retry-after": "nan"}, None),
    "a date that passed": ({"retry-after": formatdate(0)}, 0.0),
    "nonsense": ({"retry-after": "soon"}, None),
    "no header": ({}, None),
}  # fmt: skip


@pytest.mark.parametrize(("headers", "delay"), HEADERS.values(), ids=HEADERS)
def test_a_delay_is_read_from_headers(headers: dict[str, str], delay: float | None) -> None:
    assert header_delay(headers) == delay


@pytest.mark.parametrize("factor", [1, 1000], ids=["seconds", "milliseconds"])
def test_a_point_of_time_is_a_delay(factor: int) -> None:
    at = int((time.time() + 30) * factor)
    delay = header_delay({"x-ratelimit-reset": str(at), "x-ratelimit-remaining": "0"})
    assert delay is not None
    assert 20 < delay <= 30


def test_a_header_counts_before_the_message() -> None:
    fault = read_fault({"error": {"message": "try again in 20s"}})
    assert retry_delay({"retry-after": "3"}, fault) == 3.0
    assert retry_delay({}, fault) == 20.0


def test_a_message_is_one_line_of_bounded_length() -> None:
    fault = read_fault({"error": {"message": "no\n" * 9_999}})
    assert "\n" not in fault.message
    assert len(fault.message) <= 300


@pytest.mark.parametrize("body", ["{" * 100_000, "[" * 100_000, '{"error": ' * 500, "\x00\xff"])
def test_a_hostile_body_is_read_in_bounded_depth(body: str) -> None:
    assert len(read_fault(body).message) <= 300
