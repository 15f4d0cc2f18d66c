"""The citations of an answer as OpenAI's annotations, each with a link to the passage."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from agentkit.answers import Answer, Citation
from agentkit.knowledge.citations.markers import markers, numbers_in


def url_citations(answer: Answer, address: str) -> list[dict[str, Any]]:
    """One `url_citation` for each marker in the text, by its position there."""
    known = {citation.marker: citation for citation in answer.citations}
    texts = [citation.chunk.text for citation in answer.citations]
    return [
        {"type": "url_citation", "url_citation": _fields(known[number], match.span(), address)}
        for match in (markers(answer.text, texts) if known else ())
        for number in numbers_in(match.group())
        if number in known
    ]


def flat_annotations(answer: Answer, address: str) -> list[dict[str, Any]]:
    """The same in the form of the Responses API."""
    return [
        {"type": "url_citation", **each["url_citation"]} for each in url_citations(answer, address)
    ]


def passage_url(citation: Citation, address: str) -> str:
    """The address at which the page of this server shows the passage."""
    document = quote(citation.chunk.document_id, safe="")
    return f"{address}/#/documents/{document}?start={citation.start}&end={citation.end}"


def support(answer: Answer) -> dict[str, Any]:
    """Why the answer ended, and its unsupported sentences: fields that OpenAI lacks."""
    return {
        "stop_reason": answer.stop_reason,
        "limit": answer.limit,
        "model": answer.model,
        "unsupported": [
            {"start": s.start, "end": s.end, "text": s.text, "reason": s.reason}
            for s in answer.unsupported
        ],
    }


def _fields(citation: Citation, span: tuple[int, int], address: str) -> dict[str, Any]:
    chunk = citation.chunk
    return {
        "start_index": span[0],
        "end_index": span[1],
        "title": citation.place,
        "url": passage_url(citation, address),
        "marker": citation.marker,
        "document_id": chunk.document_id,
        "file": chunk.source,
        "heading": chunk.heading,
        "page": citation.page if citation.part else chunk.page,
        "start": citation.start,
        "end": citation.end,
        "quote": citation.quote,
        "supported": citation.supported,
    }
