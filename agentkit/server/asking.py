"""What a question of the page asks for: its text, files and images, the model, and the documents.

Files become passages that the answer can cite, images go to the model. Neither is indexed.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from agentkit.agent.agent import Agent
from agentkit.agent.approval import pause
from agentkit.agent.setup import Overrides
from agentkit.backends.base import images
from agentkit.documents import Document
from agentkit.errors import KnowledgeError
from agentkit.knowledge.citations.passages import Sources, attach
from agentkit.knowledge.loaders.files import load
from agentkit.knowledge.search.filters import Filters
from agentkit.messages import Content, ImagePart, Message, TextPart, image_part
from agentkit.server.errors import ApiError
from agentkit.server.openai_api.models import choose_model
from agentkit.server.service import Service
from agentkit.server.uploads import named_by_content, safe_name

MOST_CHARACTERS = 100_000
"""Characters of a file that goes with a question: the model reads all of it."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a question asks for besides the answer: the id of a model that the server offers, and
    the sources or globs of the documents to use, all by default."""

    model: str = ""
    sources: tuple[str, ...] = ()

    async def resolve(self, server: Service) -> tuple[Agent, Overrides]:
        """The agent that answers, and the keywords of its run. Raises ApiError."""
        chosen = await choose_model(server, self.model)
        overrides: Overrides = {**chosen.overrides, "approve": pause}
        if self.sources:
            retrieval = overrides.get("retrieval", chosen.agent.retrieval)
            filters = Filters(sources=self.sources).bounded(retrieval.filters)
            try:
                filters.check()
            except KnowledgeError as error:
                raise ApiError(422, str(error), "invalid_value", param="sources") from error
            overrides["retrieval"] = replace(retrieval, filters=filters)
        return chosen.agent, overrides


class Attachment(BaseModel):
    """A file that goes with a question; `data` is its content in base64."""

    name: str = Field(min_length=1, max_length=300)
    data: Annotated[bytes, BeforeValidator(partial(base64.b64decode, validate=True))]


@dataclass(frozen=True, slots=True)
class Attachments:
    """Files that were read."""

    documents: tuple[Document, ...] = ()
    images: tuple[ImagePart, ...] = ()

    def ask(self, question: str, sources: Sources) -> Message:
        """The question with the files; their passages get markers of the session."""
        passages = tuple(p for document in self.documents for p in attach(document, sources))
        return Message("user", _content(question, self.images), passages=passages)


def ask_again(question: str, earlier: Message) -> Message:
    """The question with the files that came with an earlier one."""
    return replace(earlier, content=_content(question, images(earlier)))


async def read_attachments(files: Sequence[Attachment], turns: asyncio.Semaphore) -> Attachments:
    """Read the files of a question, as many at once as `turns` admits. Raises ApiError."""
    documents: list[Document] = []
    pictures: list[ImagePart] = []
    for file in files:
        if picture := image_part(file.data):
            pictures.append(picture)
        else:
            async with turns:
                documents.append(await asyncio.to_thread(_read, file))
    return Attachments(tuple(documents), tuple(pictures))


def _read(file: Attachment) -> Document:
    """The text of a file, which is parsed in a child process with bounds. Raises ApiError."""
    name = named_by_content(safe_name(file.name), io.BytesIO(file.data))
    try:
        document = load(file.data, name).document
    except KnowledgeError as error:
        raise ApiError(422, str(error), "unreadable", param="attachments") from error
    count = len(document.text)
    if not document.text.strip():
        reason = f"{name} has no text. Attach another file."
        raise ApiError(422, reason, "unreadable", param="attachments")
    if count > MOST_CHARACTERS:
        raise ApiError(
            422,
            f"{name} has {count:,} characters, and {MOST_CHARACTERS:,} go with a question. "
            "Add it to the documents instead: they are searched.",
            "too_long",
            param="attachments",
        )
    return document


def _content(question: str, pictures: Sequence[ImagePart]) -> Content:
    return (TextPart(question), *pictures) if pictures else question
