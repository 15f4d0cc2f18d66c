"""Bring a model to an Ollama server, and tell how far it is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any

from agentkit.addresses import is_loopback, shown
from agentkit.backends.ollama_wire import error_text, json_lines
from agentkit.errors import ModelError

_SILENCE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class PullProgress:
    """What the server does now; of a file also how many of its bytes are there."""

    status: str
    total: int = 0
    completed: int = 0


async def pulled(model: str, url: str) -> AsyncGenerator[PullProgress, None]:
    """Pull the model; ends when it is there. Raises ModelError."""
    import httpx2

    timeout = httpx2.Timeout(_SILENCE_SECONDS, connect=5.0)
    try:
        async with (
            httpx2.AsyncClient(timeout=timeout, trust_env=not is_loopback(url)) as client,
            client.stream("POST", f"{url}/api/pull", json={"model": model}) as response,
        ):
            if response.status_code != 200:
                said = (await response.aread()).decode("utf-8", "replace")
                raise _refused(model, url, error_text(said))
            done = False
            async for line in json_lines(response.aiter_bytes()):
                if line.get("error"):
                    raise _refused(model, url, str(line["error"]))
                done = line.get("status") == "success"
                yield _progress(line)
            if not done:
                raise _fault(
                    model, f"{shown(url)} broke off while it pulled {model!r}: pull again."
                )
    except httpx2.ConnectError as error:
        raise _fault(
            model, f"No Ollama server answers at {shown(url)}. Start it: ollama serve"
        ) from error
    except (httpx2.HTTPError, ValueError) as error:
        raise _fault(
            model, f"{shown(url)} failed while it pulled {model!r} ({error}): pull again."
        ) from error


def _progress(line: Mapping[str, Any]) -> PullProgress:
    total, completed = line.get("total"), line.get("completed")
    return PullProgress(str(line.get("status") or ""), total or 0, completed or 0)


def _refused(model: str, url: str, said: str) -> ModelError:
    if "does not exist" in said or "not found" in said:
        return _fault(
            model,
            f"There is no model {model!r} for Ollama ({said}). Names are at "
            "https://ollama.com/library.",
        )
    return _fault(model, f"{shown(url)} could not pull {model!r}: {said}")


def _fault(model: str, text: str) -> ModelError:
    return ModelError(" ".join(text.split())[:600], f"ollama:{model}")
