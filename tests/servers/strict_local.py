"""What servers of one's own machines refuse, and what their replies hold beside text.

Each entry names the documentation and the public reports that it is written from.
"""

from __future__ import annotations

from collections.abc import Mapping

from tests.servers import strict_rules as r
from tests.servers.strict_rules import Strict, plain

_REASONED = {"reasoning_content": "The user wants to know more."}
_JINJA = "\n------------\nWhile executing CallExpression in source:\nError: Jinja Exception: "

LOCAL: Mapping[str, Strict] = {
    # docs.vllm.ai; templates of Qwen3.5 (llama.cpp#20733).
    "vllm": Strict(
        "Qwen/Qwen3.5-35B",
        (
            r.system_first("System message must be at the beginning.", 1),
            r.fields(r.OPENAI_FIELDS, "Unknown field {field}"),
            r.OPENAI_PAIRING,
        ),
        lambda text: (
            400,
            {
                "object": "error",
                "message": text,
                "type": "BadRequestError",
                "param": None,
                "code": 400,
            },
        ),
        reply={"reasoning": "Hm."},
        call_id=lambda n: f"chatcmpl-tool-srv{n}",
    ),
    # docs.sglang.ai; sglang#5391: content of calls is text.
    "sglang": Strict(
        "Qwen/Qwen3.5-35B",
        (
            r.system_first("System message must be at the beginning.", 1),
            r.null_content(
                "1 validation error: body.messages.{at}.content Input should be a valid string"
            ),
            r.OPENAI_PAIRING,
        ),
        reply=_REASONED,
    ),
    # ggml-org/llama.cpp#20733 and #19851: the template's exceptions are errors of status 500.
    "llamacpp": Strict(
        "devstral-small-2",
        (
            r.system_first(_JINJA + "System message must be at the beginning.", 1),
            r.alternating(
                _JINJA + "After the optional system message, conversation roles must alternate "
                "user and assistant roles except for tool calls and results."
            ),
            r.images(
                "image input is not supported - hint: if this is unexpected, you may need to "
                "provide the mmproj"
            ),
            lambda body: next(
                (
                    "Missing tool call type"
                    for _, _, c in r.calls(body)
                    if c.get("type") != "function"
                ),
                None,
            ),
            r.keyword(("$ref",), "JSON schema conversion failed: Unresolved $ref"),
        ),
        plain(500, code=500),
        reads_images=False,
    ),
    # lmstudio-bug-tracker#670, #189, #261.
    "lmstudio": Strict(
        "qwen3.5-9b",
        (
            r.value(
                "tool_choice",
                lambda given: isinstance(given, str),
                "Invalid tool_choice type: 'object'. Supported string values: none, auto, required",
            ),
            r.value(
                "response_format",
                lambda given: given["type"] == "json_schema",
                "'response_format.type' must be 'json_schema' or 'text'",
            ),
            r.null_content(
                "Invalid 'content': 'content' field must be a string or an array of objects."
            ),
            r.system_first(
                "Error rendering prompt with jinja template: System message must be at "
                "the beginning.",
                1,
            ),
        ),
        lambda text: (400, {"error": text}),
    ),
    # text-generation-inference: messages API; #2461, #1929.
    "tgi": Strict(
        "tgi",
        (
            r.value(
                "temperature",
                lambda given: given > 0,
                "Input validation error: `temperature` must be strictly positive",
            ),
            r.value(
                "response_format",
                lambda given: given["type"] in ("json", "regex"),
                "Failed to deserialize the JSON body into the target type: response_format.type: "
                "unknown variant `json_schema`, expected `json` or `regex`",
            ),
            r.null_content(
                "Failed to deserialize the JSON body into the target type: messages[{at}]"
                ": data did not match any variant of untagged enum MessageBody"
            ),
            r.alternating(
                "Template error: syntax error: Conversation roles must alternate "
                "user/assistant/user/assistant/... (in <string>:1)"
            ),
        ),
        lambda text: (422, {"error": text, "error_type": "validation"}),
    ),
    # ollama/ollama openai/openai.go; pydantic-ai#5206, ollama#8000: a type is one word.
    "ollama": Strict(
        "qwen3:8b",
        (
            r.null_content("invalid message content type: <nil>"),
            lambda body: next(
                (
                    "json: cannot unmarshal array into Go struct field .tools.function.parameters."
                    "properties.type of type string"
                    for node in r.schemas(body)
                    if isinstance(node.get("type"), list)
                ),
                None,
            ),
        ),
        plain(400, param=None, code=None),
    ),
}
