"""Structured output for a LangChain chat model whose answers a schema holds."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass


def held_to(
    chat: BaseChatModel, schema: dict[str, Any] | type, include_raw: bool, json_mode: bool
) -> Runnable[LanguageModelInput, Any]:
    """The chat model, then a parser: an object of the class, or a dict. `json_mode` asks for any
    JSON object, and leaves its form to the prompt."""
    kwargs = {"method": "json_mode" if json_mode else "json_schema"}
    traced = {"kwargs": kwargs, "schema": schema}
    model = chat.bind(
        response_format=_format(schema, json_mode), ls_structured_output_format=traced
    )
    parser: Runnable[Any, Any] = JsonOutputParser()
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        parser = PydanticOutputParser(pydantic_object=schema)
    return _with_raw(model, parser) if include_raw else model | parser


def _format(schema: dict[str, Any] | type, json_mode: bool) -> dict[str, Any]:
    if json_mode:
        return {"type": "json_object"}
    function = convert_to_openai_tool(schema)["function"]
    named = {"name": function["name"], "schema": function["parameters"]}
    return {"type": "json_schema", "json_schema": named}


def _with_raw(
    model: Runnable[LanguageModelInput, Any], parser: Runnable[Any, Any]
) -> Runnable[LanguageModelInput, Any]:
    """Raw message, parsed object and parsing error, in LangChain's own form."""
    read = itemgetter("raw") | parser
    parsed = RunnablePassthrough.assign(parsed=read, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=model) | parsed.with_fallbacks([failed], exception_key="parsing_error")
