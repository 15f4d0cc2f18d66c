"""What the commands print for programs: hits and answers as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from agentkit.answers import Answer, Citation
from agentkit.documents import Hit


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def hits_as_json(hits: Sequence[Hit]) -> list[dict[str, Any]]:
    return [
        {
            "source": hit.chunk.source,
            "title": hit.chunk.title,
            "heading": hit.chunk.heading,
            "page": hit.chunk.page,
            "part": hit.chunk.part,
            "start": hit.chunk.start,
            "end": hit.chunk.end,
            "score": hit.score,
            "text": hit.chunk.text,
        }
        for hit in hits
    ]


def answer_as_json(answer: Answer) -> dict[str, Any]:
    return {
        "answer": answer.text,
        "citations": [_citation_as_json(citation) for citation in answer.citations],
        "sentences": [asdict(sentence) for sentence in answer.sentences],
        "model": answer.model,
        "tool_calls": list(answer.tool_calls),
        "usage": {
            "input_tokens": answer.usage.input_tokens,
            "output_tokens": answer.usage.output_tokens,
            "estimated": answer.usage.estimated,
        },
        "cost": answer.cost,
        "stop_reason": answer.stop_reason,
    }


def _citation_as_json(citation: Citation) -> dict[str, Any]:
    return {
        "marker": citation.marker,
        "source": citation.chunk.source,
        "heading": citation.chunk.heading,
        "page": citation.page if citation.part else citation.chunk.page,
        "part": citation.part or citation.chunk.part,
        "start": citation.start,
        "end": citation.end,
        "quote": citation.quote,
        "supported": citation.supported,
    }
