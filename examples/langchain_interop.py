"""Combine LangChain and agentkit: its models and tools in an agent, our index as its retriever."""

import asyncio
import tempfile

from langchain_core.language_models import FakeListChatModel
from langchain_core.tools import tool as langchain_tool

from agentkit import Agent, Document, KnowledgeBase, ScriptedModel, ToolCall
from agentkit.integrations.langchain import KnowledgeRetriever, LangChainModel, from_langchain_tool


@langchain_tool
def word_count(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


async def main() -> None:
    # A LangChain chat model answers in an agent.
    chat = FakeListChatModel(responses=["Hello from LangChain."])
    print((await Agent(LangChainModel(chat)).run("Hello?")).text)

    # A LangChain tool is called by an agent.
    model = ScriptedModel([ToolCall("1", "word_count", {"text": "one two three"}), "Three."])
    answer = await Agent(model, [from_langchain_tool(word_count)]).run("How many words?")
    print(answer.tool_calls, answer.text)

    # A knowledge base is a LangChain retriever; places are in the metadata.
    with tempfile.TemporaryDirectory() as folder, KnowledgeBase.open(folder) as knowledge:
        await knowledge.add([Document("fans.md", "# Cooling\n\nThe fans start at 60 degrees.")])
        retriever = KnowledgeRetriever(knowledge=knowledge, k=1)
        (document,) = await retriever.ainvoke("When do the fans start?")
        print(document.page_content, document.metadata["source"])


if __name__ == "__main__":
    asyncio.run(main())
