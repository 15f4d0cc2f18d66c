"""Answer two tenants from their own documents with one agent.

`filters` of a run hold for every tool of the knowledge base: what they exclude cannot be searched,
listed or read. `Retrieval(knowledge=...)` gives a run another knowledge base instead.
"""

import asyncio
import tempfile

from agentkit import Agent, Document, Filters, KnowledgeBase, Retrieval

DOCUMENTS = {
    "acme": {"hours.md": "# Hours\n\nThe office of Acme opens at 8.\n"},
    "globex": {"hours.md": "# Hours\n\nThe office of Globex opens at 10.\n"},
}


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder, KnowledgeBase.open(folder) as knowledge:
        for tenant, documents in DOCUMENTS.items():
            await knowledge.add(
                [Document(f"{tenant}/{name}", text) for name, text in documents.items()]
            )
        agent = Agent("extractive", knowledge=knowledge)
        for tenant in DOCUMENTS:
            retrieval = Retrieval(filters=Filters(sources=(f"{tenant}/**",)))
            answer = await agent.run("When does the office open?", retrieval=retrieval)
            print(tenant, answer.text, answer.citations[0].chunk.place)


if __name__ == "__main__":
    asyncio.run(main())
