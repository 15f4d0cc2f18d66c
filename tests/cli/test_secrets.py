"""Secrets of eight forms are planted in the environment, agentkit.toml and mcp.json; no command
prints them, and no file that it writes has them."""

import json
import os
import sys
from pathlib import Path

import pytest

from agentkit.project.trust import trust
from tests import planted
from tests.cli.process import run_agentkit
from tests.planted import SECRETS
from tests.servers.openai_server import OpenAIServer, Reply, call, calls

pytestmark = pytest.mark.slow

SERVER = "import os, sys\nprint(*os.environ.values(), sep='\\n', file=sys.stderr)\nsys.exit(1)"
TOOL = """\
import os
from agentkit import tool

@tool
def leak() -> str:
    "Fail with all that a client of a service may report."
    raise RuntimeError({texts!r} + "".join(os.environ.values()))
"""


@pytest.fixture
def folder(tmp_path: Path, openai_server: OpenAIServer) -> Path:
    """A trusted project full of secrets, whose model calls a tool, and then refuses the key."""
    folder = tmp_path / "app"
    for name in ("knowledge", "tools", "mcp_servers"):
        (folder / name).mkdir(parents=True)
    (folder / "knowledge" / "note.md").write_text("# Note\n\nThe zebra is striped.\n")
    (folder / "tools" / "leak.py").write_text(TOOL.format(texts="\n".join(planted.TEXTS.values())))
    (folder / "mcp_servers" / "leaky.py").write_text(SERVER)
    headers = {"Authorization": f"Bearer {SECRETS['bearer token']}"}
    secret_url = f"http://me:{SECRETS['URL password']}@127.0.0.1:9/mcp?k={SECRETS['query value']}"
    arguments = ["mcp_servers/leaky.py", "--api-key", SECRETS["OpenAI key"]]
    environment = {"SERVER_TOKEN": SECRETS["GitHub token"], "PRIVATE_KEY": planted.PEM}
    servers = {
        "leaky": {"command": sys.executable, "args": arguments, "env": environment},
        "web": {"url": secret_url, "headers": headers},
    }
    (folder / "mcp_servers" / "mcp.json").write_text(json.dumps({"mcpServers": servers}))
    place = openai_server.url.removeprefix("http://")
    address = f"http://me:{SECRETS['URL password']}@{place}?key={SECRETS['query value']}"
    (folder / "agentkit.toml").write_text(
        f'model = "work:small"\n[providers.work]\nbase_url = "{address}"\nmax_retries = 0\n'
        f'api_key_env = "OPENAI_API_KEY"\nextra_body = {{api_key = "{SECRETS["Anthropic key"]}"}}\n'
        f"[traces]\nkeep = 9\n"
    )
    echo = json.dumps({"error": {"message": "refused: " + "; ".join(planted.TEXTS.values())}})
    reply = Reply(deltas=calls(call("{}", "leak", 0, "c1")), finish="tool_calls")
    openai_server.replies(reply, Reply(raw=echo, status=401, content_type="application/json"))
    trust(folder)
    return folder


COMMANDS = (
    *("ask zebra? --session s", "ask zebra? --session s --json", "sessions show s --json"),
    *("sessions export s out.md", "sessions list --json", "trace list --json", "trace show"),
    *("doctor", "doctor --json", "config show", "config show --json", "models list --json"),
    *("mcp list", "mcp list --json", "mcp tools --json", "mcp inspect web", "mcp inspect leaky"),
    *("mcp logs leaky", "mcp install claude-code --json", "probe work:small --json", "trust"),
    *("config show providers.work.base_url", "kb list --json"),
)


def test_no_command_prints_a_secret_and_no_file_has_one(
    folder: Path, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {**planted.VARIABLES, "AGENTKIT_DEBUG": "1", "HOME": str(home)}
    leaks: dict[str, list[str]] = {}
    ran = ""
    for command in COMMANDS:
        name, *rest = command.split()
        done = run_agentkit(name, *rest, cwd=folder, env=environment)
        assert done.returncode != 2, done.stderr
        ran += done.stdout + done.stderr
        if found := planted.found_in(done.stdout + done.stderr):
            leaks[command] = found
    for place in (
        folder / ".agentkit",
        folder / "out.md",
        home,
        Path(os.environ["XDG_CONFIG_HOME"]),
    ):
        for path in [place, *place.rglob("*")]:
            if path.is_file() and (found := planted.found_in(path.read_bytes().decode("latin-1"))):
                leaks[str(path.relative_to(tmp_path))] = found
    assert leaks == {}
    assert "refuses the key" in ran
    assert ran.count("***") > 20
    assert (folder / ".agentkit" / "traces").is_dir()
    assert planted.found_in(json.dumps(openai_server.requests)) == ["Anthropic key"]
