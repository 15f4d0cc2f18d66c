"""LangChain's own published tests, over our classes and a server that speaks OpenAI's format."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool
from langchain_tests.integration_tests import (
    ChatModelIntegrationTests,
    EmbeddingsIntegrationTests,
    RetrieversIntegrationTests,
    ToolsIntegrationTests,
)
from langchain_tests.unit_tests import ChatModelUnitTests, EmbeddingsUnitTests, ToolsUnitTests

from agentkit import Document, KnowledgeBase, tool
from agentkit._sync import run_sync
from agentkit.backends.base import Model
from agentkit.backends.openai.model import OpenAIModel
from agentkit.backends.scripted import ScriptedModel
from agentkit.integrations.langchain import (
    AgentkitChatModel,
    KnowledgeRetriever,
    LangChainEmbeddings,
    LangChainModel,
    as_langchain_tool,
)
from tests.conftest import TermEmbedder
from tests.integrations.langchain.obliging import obliging
from tests.servers.openai_server import OpenAIServer
from tests.servers.running import serving

pytestmark = [
    pytest.mark.filterwarnings(
        "ignore:Benchmark fixture was not used:pytest_benchmark.logger.PytestBenchmarkWarning"
    ),
    pytest.mark.slow,
]
SERVER = OpenAIServer()
OPEN: list[AgentkitChatModel] = []
TOPICS = ("lions", "tigers", "bears", "wolves", "foxes")


@pytest.fixture(scope="module", autouse=True)
def _running() -> Iterator[None]:
    SERVER.answer = obliging
    with serving(SERVER.app) as url:
        SERVER.url = f"{url}/v1"
        yield


@pytest.fixture(autouse=True)
def _addressed(_own_user_folders: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", SERVER.url)


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    """Close the connections of both loops: the test's and that of synchronous calls."""
    yield
    for chat in OPEN:
        await chat.close()
        run_sync(chat.close())
    OPEN.clear()


class Chat(AgentkitChatModel):
    """Remembered, to be closed."""

    def model_post_init(self, context: Any) -> None:
        super().model_post_init(context)
        OPEN.append(self)


def _model() -> Model:
    return OpenAIModel("small", base_url=SERVER.url, max_retries=0)


TWO_RUNS = "the chat model inside is a run of its own: the test's callback hears of two, not one"


class TestChatModel(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return AgentkitChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": ScriptedModel(["Hello"])}


class TestChatModelByName(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return AgentkitChatModel

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "ollama:small"}


class TestChatModelOnAServer(ChatModelIntegrationTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return Chat

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": _model()}

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "openai:large"


class TestChatModelThatHoldsSchemas(TestChatModelOnAServer):
    @property
    def structured_output_kwargs(self) -> dict[str, Any]:
        return {"method": "json_schema"}


class TestChatModelThereAndBack(TestChatModelOnAServer):
    """Ours as LangChain's, that as ours, and that as LangChain's again."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": LangChainModel(Chat(model=_model()), json_schema=True)}

    @pytest.mark.parametrize("schema_type", ["pydantic", "typeddict", "json_schema"])
    @pytest.mark.xfail(strict=True, reason=TWO_RUNS)
    def test_structured_output(self, model: BaseChatModel, schema_type: Any) -> None:
        super().test_structured_output(model, schema_type)

    @pytest.mark.parametrize("schema_type", ["pydantic", "typeddict", "json_schema"])
    @pytest.mark.xfail(strict=True, reason=TWO_RUNS)
    async def test_structured_output_async(self, model: BaseChatModel, schema_type: Any) -> None:
        await super().test_structured_output_async(model, schema_type)


class _OurEmbeddings:
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return LangChainEmbeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"embedder": TermEmbedder()}


class TestEmbeddings(_OurEmbeddings, EmbeddingsUnitTests):
    pass


class TestEmbeddingsInUse(_OurEmbeddings, EmbeddingsIntegrationTests):
    pass


class TestRetriever(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _filled(self, tmp_path: Path) -> Iterator[None]:
        self.knowledge = KnowledgeBase.open(tmp_path / "index", TermEmbedder())
        self.knowledge.add_sync(
            [Document(f"{topic}.md", f"# Animals\n\nAbout {topic}.") for topic in TOPICS]
        )
        yield
        self.knowledge.close()

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return KnowledgeRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"knowledge": self.knowledge}

    @property
    def retriever_query_example(self) -> str:
        return "animals"


@tool
def multiply(a: int, b: int = 2) -> int:
    """Multiply two numbers.

    Args:
        a: The first.
        b: The second.
    """
    return a * b


class _OurTool:
    @property
    def tool_constructor(self) -> BaseTool:
        return as_langchain_tool(multiply)

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"a": 2, "b": 3}


class TestTool(_OurTool, ToolsUnitTests):
    pass


class TestToolInUse(_OurTool, ToolsIntegrationTests):
    pass
