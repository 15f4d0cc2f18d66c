"""What families of embedding models want written before a question and before a passage.

A model that is none of these gets nothing; wrong prefixes cost recall, missing ones more.
Source: the models' own cards on huggingface.co.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_TASK = "Given a web search query, retrieve relevant passages that answer the query"


@dataclass(frozen=True, slots=True)
class Prefixes:
    """The words before each text."""

    query: str = ""
    passage: str = ""


FAMILIES: tuple[tuple[str, Prefixes], ...] = (
    (r"qwen3-embedding", Prefixes(f"Instruct: {_TASK}\nQuery:")),
    (r"\be5-mistral|\be5-.*instruct", Prefixes(f"Instruct: {_TASK}\nQuery: ")),
    (r"\be5\b", Prefixes("query: ", "passage: ")),
    (r"\bbge-m3", Prefixes()),
    (r"\bbge-.*\bzh\b", Prefixes("为这个句子生成表示以用于检索相关文章：")),
    (r"\bbge-", Prefixes("Represent this sentence for searching relevant passages: ")),
    (r"\bnomic-embed", Prefixes("search_query: ", "search_document: ")),
)
"""A pattern of names, and its prefixes; the first that fits counts."""


def prefixes_for(model: str) -> Prefixes:
    """The prefixes of a model by its name, whoever hosts it: "BAAI/bge-small-en-v1.5",
    "nomic-embed-text:latest"."""
    name = model.rstrip("/").rpartition("/")[2].lower().replace("_", "-")
    return next((found for family, found in FAMILIES if re.search(family, name)), Prefixes())
