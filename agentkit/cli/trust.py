"""`agentkit trust`: look at what a folder would run, then allow it."""

from __future__ import annotations

from pathlib import Path

from agentkit.cli.render import consoles
from agentkit.errors import ConfigError
from agentkit.project.trust import guarded_files, trust


async def trust_folder(folder: Path) -> int:
    """Remember a folder's present contents, and name the files that this covers."""
    out, _ = consoles()
    if not folder.is_dir():
        raise ConfigError(f"{folder} is no folder. Name the folder of a project.")
    files = [path.relative_to(folder).as_posix() for path in guarded_files(folder)]
    trust(folder)
    out.print(f"Trusted as it is now: {folder.resolve()}", markup=False)
    for name in files:
        out.print(f"  {name}", markup=False)
    if not files:
        out.print("  (it holds no agentkit.toml, tools/ or mcp_servers/)", markup=False)
    return 0
