"""A text that goes with a question, as passages to cite: standard input, an attached file.

It is cut like a document of the index and shown whole, in order; nothing of it is stored.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from agentkit.backends.base import estimated_tokens
from agentkit.documents import Document
from agentkit.knowledge.sources import Sources
from agentkit.knowledge.splitter import split
from agentkit.passages import Passage, write_passages

PASSAGE_TOKENS = 320


def attached(document: Document, sources: Sources) -> str:
    """The passages of a document, each with its number in the session; "" for one without text."""
    content = f"{document.source}\0{document.text}".encode("utf-8", "surrogatepass")
    named = replace(document, id=hashlib.sha256(content).hexdigest())
    chunks = split(named, estimated_tokens, PASSAGE_TOKENS)
    return write_passages(
        Passage(sources.mark(chunk), chunk.source, chunk.heading, chunk.text, part=chunk.part)
        for chunk in chunks
    )
