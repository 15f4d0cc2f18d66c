"""Answer two tenants from their own documents with one agent."""

import asyncio
import sqlite3
from dataclasses import dataclass

from pydantic_ai import Agent, ModelMessage, ModelResponse, RunContext, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

DOCUMENTS = {
    "acme": {"hours.md": "# Hours\n\nThe office of Acme opens at 8.\n"},
    "globex": {"hours.md": "# Hours\n\nThe office of Globex opens at 10.\n"},
}


@dataclass
class Tenant:
    name: str
    database: sqlite3.Connection


def repeat_best_passage(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    return ModelResponse([TextPart((info.instructions or "").splitlines()[1])])


agent = Agent(FunctionModel(repeat_best_passage), deps_type=Tenant)


@agent.instructions
def search(context: RunContext[Tenant]) -> str:
    words = " OR ".join(f'"{word}"' for word in str(context.prompt).replace('"', "").split())
    rows = context.deps.database.execute(
        "SELECT source, text FROM passages WHERE passages MATCH ? AND tenant = ? "
        "ORDER BY rank LIMIT 5",
        (words, context.deps.name),
    )
    passages = [f"{text} [{source}]" for source, text in rows]
    return "\n".join(["Answer from these passages and name their sources:", *passages])


def build_index() -> sqlite3.Connection:
    database = sqlite3.connect(":memory:", check_same_thread=False)
    database.execute("CREATE VIRTUAL TABLE passages USING fts5(tenant UNINDEXED, source, text)")
    for tenant, documents in DOCUMENTS.items():
        for source, document in documents.items():
            for paragraph in document.split("\n\n"):
                if text := paragraph.strip():
                    row = (tenant, source, text)
                    database.execute("INSERT INTO passages VALUES (?, ?, ?)", row)
    return database


async def main() -> None:
    database = build_index()
    for name in DOCUMENTS:
        result = await agent.run("When does the office open?", deps=Tenant(name, database))
        print(name, result.output)


if __name__ == "__main__":
    asyncio.run(main())
