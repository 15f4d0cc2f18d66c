"""Resolving a model name, and the errors for names that cannot be loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from agentkit.backends.huggingface.load import Source, check_hub, resolve_source
from agentkit.errors import ModelError
from tests.servers.running import refused_url, serving

pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

FILES = {
    "team/sound": ["config.json", "model.safetensors"],
    "team/pickled": ["config.json", "pytorch_model.bin"],
    "team/ggufs": ["small.gguf"],
}


def test_a_hub_id_is_left_for_the_hub() -> None:
    assert resolve_source("Qwen/Qwen3-0.6B") == Source("hf:Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B")


def test_a_gguf_path_is_a_directory_and_a_file(tmp_path: Path) -> None:
    (tmp_path / "small.gguf").write_bytes(b"GGUF...")
    source = resolve_source(str(tmp_path / "small.gguf"))
    assert (source.place, source.gguf_file) == (str(tmp_path), "small.gguf")


def test_a_directory_with_safetensors_is_taken(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).touch()
    assert resolve_source(str(tmp_path)).place == str(tmp_path)


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ([], r"no config\.json.*Give the directory"),
        (["small.gguf"], r"no config\.json.*Use hf:.*small\.gguf"),
        (["config.json"], "no .*safetensors weights"),
        (["config.json", "pytorch_model.bin"], "pickle files only.*refused"),
    ],
)
def test_a_directory_without_a_model_says_what_is_missing(
    tmp_path: Path, files: list[str], line: str
) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(ModelError, match=line):
        resolve_source(str(tmp_path))


@pytest.mark.parametrize("name", ["/no/such/folder", "./none", "a b c", "C:\\models\\x"])
def test_a_missing_path_is_named(name: str) -> None:
    with pytest.raises(ModelError, match="is not a directory"):
        resolve_source(name)


def test_a_missing_gguf_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"none\.gguf' is not a file"):
        resolve_source(str(tmp_path / "none.gguf"))


def test_a_file_of_another_format_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.gguf").write_text("<html>")
    with pytest.raises(ModelError, match="is not a GGUF file"):
        resolve_source(str(tmp_path / "page.gguf"))


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    """A small hub that knows the models of FILES."""

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in FILES:
            headers = {"X-Error-Code": "RepoNotFound"}
            return JSONResponse({"error": "Repository not found"}, 404, headers)
        return JSONResponse({"id": name, "siblings": [{"rfilename": f} for f in FILES[name]]})

    with serving(Starlette(routes=[Route("/api/models/{name:path}", model)])) as url:
        yield url


def test_a_sound_model_on_the_hub_passes(hub: str) -> None:
    check_hub(resolve_source("team/sound"), hub)
    check_hub(resolve_source("team/ggufs", "small.gguf"), hub)


@pytest.mark.parametrize(
    ("name", "gguf_file", "line"),
    [
        ("team/none", None, "'team/none' is not on the hub"),
        ("team/pickled", None, "pickle files only.*refused"),
        ("team/ggufs", None, "GGUF files only"),
        ("team/ggufs", "large.gguf", r"no 'large\.gguf' on the hub.*small\.gguf"),
    ],
)
def test_a_model_that_the_hub_cannot_give_is_refused(
    hub: str, name: str, gguf_file: str | None, line: str
) -> None:
    with pytest.raises(ModelError, match=line):
        check_hub(resolve_source(name, gguf_file), hub)


def test_without_a_network_the_download_is_named() -> None:
    with pytest.raises(ModelError, match=r"cannot be reached.*hf download team/sound"):
        check_hub(resolve_source("team/sound"), refused_url())
