"""Index documents of your own and answer from them with citations."""

import asyncio
import tempfile
from pathlib import Path

from agentkit import Agent, Document, KnowledgeBase

MANUAL = """# Coffee machine

## Descaling

Descale the machine every 200 cups. Use 50 ml of citric acid in one litre of water.

## Water

Use filtered water with a hardness below 8 degrees.
"""


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        notes = Path(folder) / "notes"
        notes.mkdir()
        (notes / "office.md").write_text("# Office\n\nThe door code changes on the first of May.\n")

        with KnowledgeBase.open(Path(folder) / "index") as knowledge:
            await knowledge.add([Document("coffee.md", MANUAL, metadata={"tags": ["kitchen"]})])
            report = await knowledge.add_path(notes)  # every file that a loader can read
            print(report)

            agent = Agent("extractive", knowledge=knowledge)
            answer = await agent.run("How often should the machine be descaled?")
            print(answer.text)
            for citation in answer.citations:
                chunk = citation.chunk
                print(f"[{citation.marker}] {chunk.place}, {citation.start}-{citation.end}")
                assert citation.quote is not None
                assert citation.quote in MANUAL


if __name__ == "__main__":
    asyncio.run(main())
