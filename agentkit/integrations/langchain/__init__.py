"""LangChain integration: convert models, tools, embedders, retrievers and documents both ways.

Only this package imports langchain_core, and nothing in agentkit imports this package.
"""

from __future__ import annotations

from agentkit.errors import ConfigError

try:
    from agentkit.integrations.langchain.chat_model import AgentkitChatModel
    from agentkit.integrations.langchain.knowledge import (
        KnowledgeRetriever,
        LangChainEmbedder,
        LangChainEmbeddings,
        as_langchain_document,
        from_langchain_document,
    )
    from agentkit.integrations.langchain.model import (
        LangChainModel,
        as_langchain_tool,
        from_langchain_tool,
    )
except ModuleNotFoundError as error:
    raise ConfigError(
        f'{error.name} is not installed: pip install "agentkit-rag[langchain]"'
    ) from error

__all__ = [
    "AgentkitChatModel",
    "KnowledgeRetriever",
    "LangChainEmbedder",
    "LangChainEmbeddings",
    "LangChainModel",
    "as_langchain_document",
    "as_langchain_tool",
    "from_langchain_document",
    "from_langchain_tool",
]
