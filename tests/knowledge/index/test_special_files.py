"""What is not a regular file in a project is named or left out, and never waited for."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentkit import AgentkitError, ConfigError, KnowledgeBase, McpError
from agentkit.knowledge.loaders.files import read_bytes
from agentkit.mcp.config import read_json
from agentkit.settings.sources import file_layer
from tests.conftest import TermEmbedder

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="There are no such files.")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # The path of a socket must be short.
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


def _endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def _links_to_each_other(path: Path) -> None:
    path.symlink_to("second.md")
    path.with_name("second.md").symlink_to(path.name)


def _link_to_nothing(path: Path) -> None:
    path.symlink_to("nowhere.md")


SPECIAL = [_pipe, _socket, _endless_device, _link_to_itself, _links_to_each_other, _link_to_nothing]


@pytest.mark.parametrize("make", SPECIAL)
async def test_the_other_documents_of_a_folder_are_indexed(
    make: Callable[[Path], None], tmp_path: Path, embedder: TermEmbedder
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "pump.md").write_text("The pump weighs 40 kg.")
    make(folder / "special.md")
    with KnowledgeBase.open(tmp_path / "index", embedder) as knowledge:
        report = await knowledge.add_path(folder)
        again = await knowledge.add_path(folder)
        with pytest.raises(AgentkitError, match="special"):
            await knowledge.remove("special.md")
    assert report.added == ("pump.md",)
    assert again.unchanged == ("pump.md",)
    assert all("special.md" in warning or "second.md" in warning for warning in report.warnings)


@pytest.mark.parametrize("make", [_pipe, _socket, _endless_device])
@pytest.mark.parametrize(
    ("read", "error"),
    [
        (lambda path: read_bytes(path, 1000), AgentkitError),
        (file_layer, ConfigError),
        (read_json, McpError),
    ],
    ids=["document", "settings", "servers"],
)
def test_a_file_that_is_not_regular_is_refused(
    make: Callable[[Path], None],
    read: Callable[[Path], object],
    error: type[AgentkitError],
    tmp_path: Path,
) -> None:
    path = tmp_path / "special.md"
    make(path)
    with pytest.raises(error, match=r"special\.md.*([Nn]ot a regular|No such device)"):
        read(path)
