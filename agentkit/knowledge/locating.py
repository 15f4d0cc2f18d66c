"""The page, slide or rows that a quote itself stands on: a passage may reach over several.

It is read from the document in the index. Where that has changed since the passage was found, a
citation keeps its passage's place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from agentkit.answers import Citation
from agentkit.documents import Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.knowledge_base import KnowledgeBase
from agentkit.knowledge.splitting.places import Places


async def located(citations: Sequence[Citation], knowledge: KnowledgeBase) -> tuple[Citation, ...]:
    """The citations, in their order, those with a quote at the quote's own place."""
    wide = {c.chunk.source for c in citations if c.quote and c.chunk.part}
    documents = {source: await _document(source, knowledge) for source in wide}
    places = {source: (d, Places(d)) for source, d in documents.items() if d is not None}
    return tuple(
        _at(citation, *places[citation.chunk.source])
        if citation.quote and citation.chunk.source in places
        else citation
        for citation in citations
    )


async def _document(source: str, knowledge: KnowledgeBase) -> Document | None:
    try:
        return await knowledge.document(source)
    except KnowledgeError:  # removed since it was found
        return None


def _at(citation: Citation, document: Document, places: Places) -> Citation:
    start, end = citation.start, citation.end
    if document.text[start:end] != citation.quote:
        return citation
    return replace(citation, page=places.page(start, end), part=places.part(start, end))
