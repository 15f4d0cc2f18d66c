"""/v1/embeddings: vectors of the folder's embedder. /v1/audio is refused."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter, Depends
from pydantic import Field

from agentkit.server.auth import Asker, current
from agentkit.server.errors import ApiError
from agentkit.server.openai_api.wire import Wire, unsupported
from agentkit.server.service import Server

router = APIRouter(prefix="/v1", tags=["openai"])

MOST_TEXTS = 2048
_LONGEST_TEXT = 200_000
_AUDIO = "There is no audio here: this server answers in text, from documents."


class EmbeddingRequest(Wire):
    """The body of /v1/embeddings. `input_type` "query" embeds questions, "passage" the texts in
    which they are to be found; OpenAI has no such field, and its clients get passages."""

    model: str = Field(default="", max_length=500)
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(default=None, ge=1)
    input_type: Literal["query", "passage"] = "passage"

    @property
    def texts(self) -> list[str]:
        """The texts to embed. Raises ApiError."""
        given = [self.input] if isinstance(self.input, str) else self.input
        texts = [each for each in given if isinstance(each, str)]
        if len(texts) < len(given):
            raise unsupported(
                "input",
                "Tokens are not taken. Send the text: with LangChain, set "
                "check_embedding_ctx_length to False.",
            )
        if not 1 <= len(texts) <= MOST_TEXTS:
            raise ApiError(400, f"Send 1 to {MOST_TEXTS} texts.", "invalid_value", param="input")
        if not all(texts) or max(map(len, texts)) > _LONGEST_TEXT:
            message = f"Each text must have 1 to {_LONGEST_TEXT} characters."
            raise ApiError(400, message, "invalid_value", param="input")
        return texts


@router.post("/embeddings")
async def create_embeddings(
    body: EmbeddingRequest, identity: Asker, server: Server
) -> dict[str, Any]:
    """Embed texts with the embedder of the folder."""
    if server.agent.knowledge is None:
        message = "This folder has no documents, so no embedder is in use."
        raise ApiError(404, message, "model_not_found", param="model")
    embedder = server.agent.knowledge.embedder
    if body.model not in ("", embedder.name, server.project.settings.knowledge.embedder):
        message = f"The embedder here is {embedder.name!r}, not {body.model[:100]!r}."
        raise ApiError(404, message, "model_not_found", param="model")
    texts = body.texts
    if body.dimensions not in (None, embedder.dimension):
        message = f"The vectors have {embedder.dimension} dimensions, which cannot be changed."
        raise unsupported("dimensions", message)
    embed = embedder.embed_queries if body.input_type == "query" else embedder.embed_passages
    async with server.admission.slot(identity.name):
        vectors = await embed(texts)
    tokens = sum(map(embedder.count_tokens, texts))
    server.metrics.tokens.labels("embedded").inc(tokens)
    return {
        "object": "list",
        "model": embedder.name,
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, body)}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _encoded(vector: np.ndarray[Any, Any], body: EmbeddingRequest) -> Any:
    values = np.asarray(vector, dtype="<f4")
    if body.encoding_format == "base64":
        return base64.b64encode(values.tobytes()).decode()
    return [float(value) for value in values]


@router.post("/audio/{rest:path}", dependencies=[Depends(current)])
def refuse_audio(rest: str) -> None:
    """Refuse speech, transcription and translation."""
    raise ApiError(400, _AUDIO, "audio_not_available")
