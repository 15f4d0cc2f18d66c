"""What each backend need not do, and why: the only checks of the conformance suite that may end as
unsupported there. One that passes though it stands here fails the suite too."""

from __future__ import annotations

from collections.abc import Mapping

_NO_IMAGES = "SmolLM2 reads text alone"

UNSUPPORTED: Mapping[str, Mapping[str, str]] = {
    "openai, llama.cpp server": {
        "forced_tool": "the server does not enforce tool_choice, and does not claim to",
        "named_tool": "the server does not enforce tool_choice, and does not claim to",
        "image": _NO_IMAGES,
        "unknown_model": "the server serves its one model under any name",
    },
    "hugging face": {"image": _NO_IMAGES},
    "gguf": {"image": _NO_IMAGES},
    "openai, in-repo server": {},
    "ollama, in-repo server": {},
    "ollama, real server": {},
    "scripted": {
        "unicode_written": "a script is held by no schema",
        "json_schema": "a script is held by no schema",
        "forced_tool": "a script cannot be forced to call",
        "named_tool": "a script cannot be forced to call",
        "usage": "a script has no tokenizer: tokens are estimated",
        "window_known": "a script has no window",
        "long_prompt": "a script has no window",
        "too_long_a_prompt": "a script has no window",
        "unknown_model": "there is one script only",
    },
}

NOT_ASKED: Mapping[str, Mapping[str, str]] = {
    "scripted": {
        "stop_string": "a script reads no options",
        "max_tokens": "a script reads no options",
    }
}
"""Checks that make no sense for a backend."""
