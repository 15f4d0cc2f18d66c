"""The seam between a kind of file and the documents: bytes in, a document out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agentkit.documents import Document


@dataclass(frozen=True, slots=True)
class Loaded:
    """A document, and a line for each thing in the file that could not be read."""

    document: Document
    warnings: tuple[str, ...] = ()


Loader = Callable[[bytes, str], Loaded]
"""A file's bytes and its source. Raises KnowledgeError with the bare reason, such as "encrypted:
save it without a password"; the caller puts the file's name before it."""
