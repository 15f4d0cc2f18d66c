"""Markdown and plain text, as they stand."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import Any

import yaml

from agentkit.documents import Document
from agentkit.knowledge.loaders.base import Loaded
from agentkit.knowledge.loaders.decoding import decoded
from agentkit.knowledge.splitter import first_heading, front_matter


def load_markdown(content: bytes, source: str) -> Loaded:
    """Title and metadata come from the front matter, else the title from the first heading."""
    text = decoded(content)
    metadata = _metadata(text)
    title = str(metadata.get("title") or first_heading(text) or PurePosixPath(source).stem)
    return Loaded(Document(source, text, title, metadata=metadata))


def load_text(content: bytes, source: str) -> Loaded:
    """Plain text has paragraphs, no headings."""
    return Loaded(Document(source, decoded(content), PurePosixPath(source).stem, format="text"))


def _metadata(text: str) -> dict[str, Any]:
    """The YAML front matter; one that is no mapping, no YAML, or has aliases, which a bomb is made
    of, is text like any other."""
    span = front_matter(text)
    if span is None:
        return {}
    written = text[span[0] : span[1]].strip().strip("-")
    try:
        if any(
            isinstance(event, yaml.AliasEvent) for event in yaml.parse(written, yaml.SafeLoader)
        ):
            return {}
        found = yaml.safe_load(written)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    plain: dict[str, Any] = json.loads(json.dumps(found, default=str, ensure_ascii=False))
    return plain
