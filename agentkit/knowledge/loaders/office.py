"""What Word, PowerPoint and Excel files share: errors when read, and their own properties."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any

from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.base import Loaded
from agentkit.text import clean


@contextmanager
def reading(suffix: str, program: str) -> Iterator[None]:
    """What a library raises inside, as one KnowledgeError that says what to do."""
    try:
        yield
    except KnowledgeError:
        raise
    except ImportError as error:
        raise KnowledgeError('needs pip install "agentkit-rag[office]"') from error
    except Exception as error:
        # The libraries raise whatever lxml, zipfile and their own code raise on a broken file.
        raise KnowledgeError(f"damaged: open it in {program} and save it as {suffix}") from error


def core_metadata(properties: Any) -> dict[str, Any]:
    """Title, author and the date of the last change (ISO), as far as a file says them."""
    author = getattr(properties, "author", None) or getattr(properties, "creator", None)
    changed = properties.modified or properties.created
    found = {
        "title": clean(properties.title or "").strip(),
        "author": clean(author or "").strip(),
        "date": changed.date().isoformat() if changed else "",
    }
    return {key: value for key, value in found.items() if value}


def load_old(content: bytes, source: str) -> Loaded:
    """The kinds of files that Office wrote until 2006 are not read, only told from new ones."""
    suffix = PurePosixPath(source).suffix.lower()
    raise KnowledgeError(f"old format: save it as {suffix}x")
