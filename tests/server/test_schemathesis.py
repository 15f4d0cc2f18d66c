"""Generated requests for every operation of the OpenAPI description: none is answered with 5xx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings

from agentkit import Project
from agentkit.server.app import create_app
from tests.server.conftest import NOTES
from tests.servers.running import serving

pytestmark = pytest.mark.slow


def _app(folder: Path) -> FastAPI:
    """A served folder whose model always answers, with its watchers off."""
    (folder / "knowledge").mkdir(parents=True)
    (folder / "knowledge" / "storage.md").write_text(NOTES, encoding="utf-8")
    project = Project.open(folder, model="extractive", trust=True)
    return create_app(project, needs_key=False, start_project=True)


bounded = settings(
    max_examples=12,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)


def test_no_request_is_answered_with_a_failure_of_the_server(tmp_path: Path) -> None:
    failures: list[str] = []
    with serving(_app(tmp_path / "notes"), lifespan="on") as url:
        loaded = schemathesis.openapi.from_url(f"{url}/openapi.json")
        schema: Any = loaded.exclude(path_regex="/events$")
        operations = [result.ok() for result in schema.get_all_operations()]
        assert len(operations) > 10
        for operation in operations:

            @given(case=operation.as_strategy())
            @bounded
            def check(case: Any) -> None:
                response = case.call(base_url=url, timeout=60)
                if response.status_code >= 500:
                    request = response.request
                    failures.append(f"{request.method} {request.url} {request.body!r:.200}")
                    failures.append(response.text)

            check()
    assert failures == []
