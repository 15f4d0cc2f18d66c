"""A served project over a small folder, and clients that call it in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agentkit import Model, Project
from agentkit.server.app import create_app
from agentkit.settings.schema import ServeSettings

NOTES = """# Storage

## Backups

A backup of the archive is made every Sunday at 03:00 and kept for 90 days.

## Limits

One bucket holds at most 500 objects.
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project folder with one document."""
    path = tmp_path / "notes"
    (path / "knowledge").mkdir(parents=True)
    (path / "knowledge" / "storage.md").write_text(NOTES, encoding="utf-8")
    return path


@asynccontextmanager
async def served(
    folder: Path, model: Model | None = None, settings: ServeSettings | None = None, **options: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of the served folder. `model` answers in place of the extractive one."""
    async with Project.open(folder, model="extractive", trust=True) as project:
        if model is not None:
            project.agent.model = model
        app = create_app(project, settings, **{"needs_key": False, **options})
        transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            yield client


Serve = Callable[..., Any]


@pytest.fixture
def serve(folder: Path) -> Serve:
    """Serve the folder: `async with serve(model) as client`."""

    def start(
        model: Model | None = None, settings: ServeSettings | None = None, **options: Any
    ) -> Any:
        return served(folder, model, settings, **options)

    return start
