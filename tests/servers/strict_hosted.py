"""What hosted services refuse, and what their replies hold beside text.

Each entry names the documentation and the public reports that it is written from.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.servers import strict_rules as r
from tests.servers.strict_rules import Rule, Strict

_OPENAI: tuple[Rule, ...] = (
    r.fields(r.OPENAI_FIELDS, "Unrecognized request argument supplied: {field}"),
    r.OPENAI_PAIRING,
    r.OPENAI_NAMES,
    r.openai_parameters,
    r.openai_answers,
    r.openai_choice,
    r.images(
        "Invalid 'messages[{at}]'. Image URLs are only allowed for messages with role 'user', but "
        "this message contains an image URL.",
        "user",
    ),
    r.empty_message("Invalid value for 'content': expected a string, got null."),
    r.needs_json_word(
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
        "'json_object'."
    ),
)
_GPT5: tuple[Rule, ...] = (
    # litellm#13397, dify#10053; platform.openai.com, "Using GPT-5".
    r.value(
        "temperature",
        lambda given: given == 1,
        "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) "
        "value is supported.",
    ),
    r.without(
        "max_tokens",
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
    ),
    r.without("stop", "Unsupported parameter: 'stop' is not supported with this model."),
)
_REASONED = {"reasoning_content": "The user wants to know more."}
_QWEN_PAIRING = r.pairing(
    '<400> InternalError.Algo.InvalidParameter: An assistant message with "tool_calls" must be '
    'followed by tool messages responding to each "tool_call_id". The following tool_call_ids did '
    "not have response messages: message[{at}].role",
    '<400> InternalError.Algo.InvalidParameter: messages with role "tool" must be a response to a '
    'preceeding message with "tool_calls".',
)

HOSTED: Mapping[str, Strict] = {
    "openai": Strict(
        "gpt-5-mini",
        (
            *_OPENAI,
            *_GPT5,
            r.ids(
                ".{1,40}",
                "Invalid 'messages[1].tool_calls[0].id': string too "
                "long. Expected a string with maximum length 40.",
            ),
        ),
    ),
    "azure": Strict(
        "gpt-5",
        (*_OPENAI, *_GPT5),
        lambda text: (400, {"error": {"code": "unsupported_parameter", "message": text}}),
        "/openai/deployments/gpt-5/chat/completions",
        headers={"api-key": "azure-secret"},
        query="api-version=2025-04-01-preview",
    ),
    # api-docs.deepseek.com/guides/thinking_mode; continue#10193, opencode#17523.
    "deepseek": Strict(
        "deepseek-reasoner",
        (
            lambda body: next(
                (
                    f"Missing `reasoning_content` field in the assistant message at message index "
                    f"{at}. For more information, please refer to "
                    "https://api-docs.deepseek.com/guides/thinking_mode#tool-calls"
                    for at, m in r.messages(body, "assistant")
                    if "reasoning_content" not in m
                ),
                None,
            ),
            r.images(
                "Failed to deserialize the JSON body into the target type: messages[{at}]: unknown "
                "variant `image_url`, expected `text` at line 1 column 213"
            ),
            r.value(
                "response_format",
                lambda given: given["type"] != "json_schema",
                "This response_format type is unavailable now",
            ),
            r.value(
                "tool_choice",
                lambda given: given in ("auto", "none"),
                "deepseek-reasoner does not support this tool_choice",
            ),
            r.needs_json_word("Prompt must contain the word 'json' in some form"),
            r.OPENAI_PAIRING,
            r.OPENAI_NAMES,
        ),
        reply=_REASONED,
        reads_images=False,
    ),
    # platform.moonshot.ai, "Use kimi-k2-thinking"; mastra#12592, n8n#29142.
    "moonshot": Strict(
        "kimi-k2.6",
        (
            r.sent_back(
                "message",
                ["reasoning_content"],
                "thinking is enabled but reasoning_content is missing in assistant tool call "
                "message at index {at}",
            ),
            r.value(
                "temperature",
                lambda given: given == 1,
                "invalid temperature: only 1 is allowed for this model",
            ),
            r.names(
                "[a-zA-Z_][a-zA-Z0-9_-]{1,63}",
                "Invalid request: function name is invalid, must start with a letter and can "
                "contain letters, numbers, underscores, and dashes",
            ),
            lambda body: next(
                (
                    "Invalid request: tools.function.parameters is not a valid moonshot flavored "
                    "json schema, details: <At path 'properties.x': when using anyOf, type should "
                    "be defined in anyOf items instead of the parent schema>"
                    for node in r.schemas(body)
                    if "anyOf" in node and "type" in node
                ),
                None,
            ),
            r.empty_message(
                "Invalid request: the message at position {at} with role must not be empty"
            ),
            r.value(
                "tool_choice",
                lambda given: given in ("auto", "none"),
                "tool_choice 'specified' is incompatible with thinking enabled",
            ),
            r.OPENAI_PAIRING,
        ),
        reply=_REASONED,
        call_id=lambda n: f"functions.srv:{n}",
    ),
    # help.aliyun.com, error codes of Model Studio; qwen-code#2360, gemini-cli#5031.
    "dashscope": Strict(
        "qwen3.5-plus",
        (
            _QWEN_PAIRING,
            r.null_content(
                "<400> InternalError.Algo.InvalidParameter: The content field is a required field."
            ),
            r.needs_json_word(
                "<400> InternalError.Algo.InvalidParameter: 'messages' must contain the word "
                "'json' in some form, to use 'response_format' of type 'json_object'."
            ),
            r.value(
                "tool_choice",
                lambda given: given != "required",
                "<400> InternalError.Algo.InvalidParameter: The tool_choice parameter does not "
                "support being set to required or object in thinking mode",
            ),
            r.system_first(
                "<400> InternalError.Algo.InvalidParameter: System message must be at "
                "the beginning."
            ),
            r.value(
                "response_format",
                lambda given: given["type"] != "json_schema",
                "<400> InternalError.Algo.InvalidParameter: 'response_format' json_schema is not "
                "supported by this model",
            ),
            r.OPENAI_NAMES,
        ),
        reply=_REASONED,
    ),
    # docs.mistral.ai/api; opencode#1680, goose#5998, zed#37021, openai-agents#442.
    "mistral": Strict(
        "mistral-medium-latest",
        (
            r.fields(
                (r.OPENAI_FIELDS | {"random_seed"}) - {"stream_options", "seed"},
                '{{"detail":[{{"type":"extra_forbidden","loc":["body","{field}"],"msg":"Extra '
                'inputs are not permitted"}}]}}',
            ),
            r.ids(
                "[a-zA-Z0-9]{9}",
                "Tool call id was {id} but must be a-z, A-Z, 0-9, with a length of 9.",
            ),
            r.message_fields(
                ("role", "content", "tool_calls", "tool_call_id", "name", "prefix"),
                '{{"detail":[{{"type":"extra_forbidden","loc":["body","messages",{at},"{role}",'
                '"{field}"],"msg":"Extra inputs are not permitted"}}]}}',
            ),
            r.after("tool", "user", "Unexpected role 'user' after role 'tool'"),
            r.after("user", "tool", "Unexpected role 'tool' after role 'user'"),
            r.after("user", "system", "Unexpected role 'system' after role 'user'"),
            r.after("tool", "system", "Unexpected role 'system' after role 'tool'"),
            lambda body: (
                None
                if body["messages"][-1]["role"] in ("user", "tool")
                else "Expected last role User or Tool (or Assistant with prefix True) for "
                "serving but got assistant"
            ),
            r.pairing(
                "Not the same number of function calls and responses",
                "Unexpected tool call id {id} in tool results",
            ),
            r.OPENAI_NAMES,
        ),
        lambda text: (400, {"object": "error", "message": text, "type": "invalid_request_error"}),
        call_id=lambda n: f"srv{n:06}",
    ),
    # ai.google.dev/gemini-api/docs/thought-signatures and /openai; zed#44875, ccs#25,
    # browser-use#7, openswarm#24.
    "gemini": Strict(
        "gemini-3-pro",
        (
            r.without(
                "seed", 'Invalid JSON payload received. Unknown name "seed": Cannot find field.'
            ),
            r.keyword(
                (
                    "const",
                    "$ref",
                    "$defs",
                    "additionalProperties",
                    "oneOf",
                    "default",
                    "$schema",
                    "exclusiveMinimum",
                    "patternProperties",
                    "title",
                ),
                'Invalid JSON payload received. Unknown name "{word}" at '
                "'tools[0].function_declarations[0].parameters': Cannot find field.",
            ),
            lambda body: next(
                (
                    "* GenerateContentRequest.tools[0].function_declarations[0].parameters."
                    "properties: should be non-empty for OBJECT type"
                    for node in r.schemas(body)
                    if node.get("type") == "object" and not node.get("properties")
                ),
                None,
            ),
            lambda body: next(
                (
                    "Invalid value at 'tools[0].function_declarations[0].parameters.type' "
                    f"(type.googleapis.com/google.ai.generativelanguage.v1beta.Type), {node}"
                    for node in r.schemas(body)
                    if not isinstance(node.get("type"), str) and "anyOf" not in node
                ),
                None,
            ),
            r.names(
                "[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}",
                "tools[0].function_declarations[{at}].name: [FIELD_INVALID] Invalid function name. "
                "Must start with a letter or an underscore.",
            ),
            lambda body: next(
                (
                    "* GenerateContentRequest.contents[2].parts[0].function_response.name: Name "
                    "cannot be empty."
                    for _, m in r.messages(body, "tool")
                    if not m.get("name")
                ),
                None,
            ),
            r.sent_back(
                "call",
                ["extra_content"],
                "Function call is missing a thought_signature in functionCall parts. This is "
                "required for tools to work correctly.",
            ),
            lambda body: (
                None
                if [m["role"] for _, m in r.messages(body, "user", "assistant")][:1] == ["user"]
                else "Please ensure that function call turn comes immediately after a user turn or "
                "after a function response turn."
            ),
            r.OPENAI_PAIRING,
        ),
        lambda text: (
            400,
            [{"error": {"code": 400, "message": text, "status": "INVALID_ARGUMENT"}}],
        ),
        "/v1beta/openai/chat/completions",
        call_id=lambda n: f"function-call-srv{n}",
        call={"extra_content": {"google": {"thought_signature": "CoUCAdHtim9="}}},
    ),
    # openrouter.ai/docs, "Preserving reasoning", and Anthropic's own refusals.
    "openrouter": Strict(
        "anthropic/claude-sonnet-4.5",
        (
            r.sent_back(
                "message",
                ["reasoning_details"],
                "messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but "
                "found `tool_use`. When `thinking` is enabled, a final `assistant` message must "
                "start with a thinking block.",
                model_only=True,
            ),
            r.empty_message(
                "messages.{at}: all messages must have non-empty content except for "
                "the optional final assistant message"
            ),
            r.ids(
                "[a-zA-Z0-9_-]+",
                "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
            ),
            r.pairing(
                "messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately "
                "after: {id}.",
                "messages.{at}.content.0: unexpected `tool_use_id` found in `tool_result` blocks: "
                "{id}.",
            ),
            r.names(
                "[a-zA-Z0-9_-]{1,64}",
                "tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'",
            ),
            r.openai_parameters,
        ),
        lambda text: (
            400,
            {
                "error": {
                    "message": "Provider returned error",
                    "code": 400,
                    "metadata": {
                        "raw": json.dumps({"message": text}),
                        "provider_name": "Anthropic",
                    },
                }
            },
        ),
        "/api/v1/chat/completions",
        call_id=lambda n: f"call_srv{n:04}",
        reply={
            "reasoning_details": [
                {"type": "reasoning.text", "text": "Hm.", "signature": "Eo8C", "index": 0}
            ]
        },
    ),
    # console.groq.com/docs; jan#8136, gptel#774, freellmapi#1070.
    "groq": Strict(
        "llama-3.3-70b-versatile",
        (
            r.message_fields(
                ("role", "content", "tool_calls", "tool_call_id", "name"),
                "'messages.{at}' : for 'role:{role}' the following must be "
                "satisfied[('messages.{at}' : property '{field}' is unsupported)]",
            ),
            r.value(
                "response_format",
                lambda given: given["type"] != "json_schema",
                "This model does not support response format `json_schema`. See supported models: "
                "https://console.groq.com/docs/structured-outputs",
            ),
            lambda body: (
                "json mode cannot be combined with tool/function calling"
                if body.get("tools") and body.get("response_format")
                else None
            ),
            r.images("messages[{at}].content must be a string"),
            r.needs_json_word(
                "'messages' must contain the word 'json' in some form, to use "
                "'response_format' of type 'json_object'."
            ),
            r.OPENAI_PAIRING,
            r.OPENAI_NAMES,
        ),
        path="/openai/v1/chat/completions",
        reads_images=False,
    ),
    # docs.together.ai: content is text, templates of Mixtral want roles in turn.
    "together": Strict(
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        (
            r.null_content(
                "Input validation error: messages[{at}].content: invalid type: null, "
                "expected a string"
            ),
            r.system_first(
                "Input validation error: conversation roles must alternate, system "
                "message must be first"
            ),
            r.after(
                "tool", "user", "Input validation error: Unexpected role 'user' after role 'tool'"
            ),
            r.OPENAI_PAIRING,
            r.OPENAI_NAMES,
        ),
    ),
    # docs.x.ai, "Reasoning": stop and penalties are refused.
    "xai": Strict(
        "grok-4",
        (
            r.without("stop", "Argument not supported on this model: stop"),
            r.empty_message("Each message must have at least one content element."),
            r.OPENAI_PAIRING,
            r.OPENAI_NAMES,
            r.openai_parameters,
        ),
        lambda text: (400, {"code": "Client specified an invalid argument", "error": text}),
    ),
    # docs.bigmodel.cn, error codes; opencode#2557, one-api#1153.
    "zhipu": Strict(
        "glm-4.7",
        (
            lambda body: None if r.messages(body, "user") else "messages 参数非法。请检查文档。",
            r.empty_message("messages[{at}]:content和tool_calls 字段不能同时为空"),
            r.value(
                "tool_choice", lambda given: given == "auto", "tool_choice参数非法，目前仅支持auto"
            ),
            r.value(
                "temperature", lambda given: 0 < given <= 1, "temperature参数非法，取值范围(0,1]"
            ),
            r.without("seed", "seed参数非法"),
            r.value(
                "response_format",
                lambda given: given["type"] != "json_schema",
                "response_format.type参数非法",
            ),
            r.OPENAI_PAIRING,
        ),
        lambda text: (400, {"error": {"code": "1214", "message": text}}),
        "/api/paas/v4/chat/completions",
        reply=_REASONED,
    ),
    # platform.minimax.io, error 2013; MiniMax-M2#51 and #76, oh-my-pi#954.
    "minimax": Strict(
        "MiniMax-M2.5",
        (
            r.system_first("invalid params, invalid chat setting (2013)", 1),
            r.value(
                "temperature",
                lambda given: 0 < given <= 1,
                "invalid params, temperature must be in (0, 1] (2013)",
            ),
            r.images("invalid params, image input is not supported by this model (2013)"),
            r.pairing(
                "invalid params, tool call and result not match (2013)",
                "invalid params, tool result's tool id({id}) not found (2013)",
            ),
            r.empty_message("invalid params, chat content is empty (2013)"),
            r.sent_back(
                "message",
                ["reasoning_details"],
                "invalid params, reasoning_details is missing in the assistant message (2013)",
                model_only=True,
            ),
        ),
        lambda text: (
            400,
            {
                "type": "error",
                "error": {"type": "bad_request_error", "message": text, "http_code": "400"},
            },
        ),
        call_id=lambda n: f"call_srv{n}",
        reply={"reasoning_details": [{"type": "reasoning.text", "text": "Hm.", "index": 0}]},
        reads_images=False,
    ),
    # docs.siliconflow.cn, error 20015; coze-studio#326.
    "siliconflow": Strict(
        "deepseek-ai/DeepSeek-V3.2",
        (
            r.null_content("Field required"),
            r.value(
                "response_format",
                lambda given: given["type"] != "json_schema",
                "json_schema is not supported by this model",
            ),
            r.system_first("The parameter is invalid. Please check again.", 1),
            r.OPENAI_PAIRING,
            r.OPENAI_NAMES,
        ),
        lambda text: (400, {"code": 20015, "message": text, "data": None}),
        reply=_REASONED,
    ),
}
