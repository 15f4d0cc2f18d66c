"""Search of the documents, with the ranks that each retriever gave."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from agentkit.documents import Hit
from agentkit.server.auth import require
from agentkit.server.errors import ApiError
from agentkit.server.service import Server
from agentkit.server.turns import SourcePassage, passage_record

router = APIRouter(prefix="/api", tags=["search"], dependencies=[Depends(require("ask"))])

MOST_HITS = 50


class Ranks(BaseModel):
    """The places of a hit, from 1 on, in what each step found; null where it did not find or judge
    it: dense vectors, keywords, and token vectors among the hits."""

    dense: int | None
    keywords: int | None
    tokens: int | None
    rerank: int | None = None


class Scores(BaseModel):
    """The scores of a hit by each step: the cosine of the vectors, the share of the query's words,
    and late interaction of the token vectors; null where a step did not judge it."""

    dense: float | None
    keywords: float | None
    tokens: float | None


class HitRecord(BaseModel):
    """A passage that a search found. `score` is from 0 to 1."""

    passage: SourcePassage
    score: float
    scores: Scores
    ranks: Ranks


class SearchResult(BaseModel):
    hits: list[HitRecord]


@router.get("/search")
async def search(
    server: Server,
    q: Annotated[str, Query(min_length=1, max_length=2000)],
    limit: Annotated[int, Query(ge=1, le=MOST_HITS)] = 10,
) -> SearchResult:
    """Search the documents that the agent uses."""
    agent = server.agent
    if agent.documents is None:
        raise ApiError(404, "There are no documents yet. Upload some.", "no_documents")
    if not q.strip():
        raise ApiError(422, "q must not be empty.", "invalid_value", param="q")
    hits = await agent.documents.search(q, limit, filters=agent.retrieval.filters)
    by_tokens = sorted((hit.late for hit in hits if hit.late is not None), reverse=True)
    return SearchResult(hits=[_record(hit, by_tokens, at) for at, hit in enumerate(hits, 1)])


def _record(hit: Hit, by_tokens: list[float], place: int) -> HitRecord:
    return HitRecord(
        passage=passage_record(hit.chunk, str(place), hit.score),
        score=hit.score,
        scores=Scores(dense=hit.cosine, keywords=hit.keywords, tokens=hit.late),
        ranks=Ranks(
            dense=hit.dense_rank,
            keywords=hit.keyword_rank,
            tokens=None if hit.late is None else by_tokens.index(hit.late) + 1,
        ),
    )
