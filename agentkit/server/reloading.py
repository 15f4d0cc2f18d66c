"""Notice changes of agentkit.toml, tools/ and mcp_servers/ while the server runs.

What changed is shown to the open pages and waits until the user trusts it; then the project is
opened again. Settings that a running agent takes on are applied at once. With `dev`, every change
counts as trusted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from agentkit._code import CODE_FOLDERS
from agentkit.errors import AgentkitError
from agentkit.project.trust import Snapshot, take
from agentkit.redaction import get_logger
from agentkit.server.service import Service
from agentkit.server.settings_api import LIVE_SETTINGS, apply_setting
from agentkit.settings.schema import FILE_NAME
from agentkit.settings.sources import read_settings, user_folder

log = get_logger(__name__)

POLL_MS = 1000

Change = dict[str, str]
"""A file that changed, as `path`, and `what` happened to it."""


class TrustWatch:
    """Watches the files of a project that need trust, while `running()` is entered."""

    def __init__(self, server: Service, *, dev: bool = False) -> None:
        self._server, self._dev = server, dev
        self._folder = server.project.path
        self._used = take(self._folder)
        self._settings: dict[str, Any] = {}
        with suppress(AgentkitError):  # They may be changing right now.
            self._settings = self._read_settings()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Watch within the block."""
        stop = asyncio.Event()
        task = asyncio.create_task(self._watch(stop), name="trust watcher")
        try:
            yield
        finally:
            stop.set()
            task.cancel()
            await asyncio.wait({task})

    async def check(self) -> None:
        """Compare the files with those that are used, and act on what changed."""
        try:
            now = await asyncio.to_thread(take, self._folder)
            is_trusted = self._dev or await asyncio.to_thread(lambda: now.is_trusted)
        except AgentkitError as error:
            self._show([{"path": FILE_NAME, "what": str(error)}])
            return
        changed = differences(self._used, now)
        if not is_trusted:
            self._show(changed)
            return
        if [each["path"] for each in changed] == [FILE_NAME] and self._apply():
            self._used, changed = now, []
        if changed or not self._server.project.trusted:
            log.info("Opening the project again: %s changed", [each["path"] for each in changed])
            self._server.reload.set()
        self._show([])

    def _apply(self) -> bool:
        """Apply changed settings to the running agent. Whether that was all that changed."""
        try:
            fresh = self._read_settings()
        except AgentkitError:
            return False
        changed = {
            key for key in {*fresh, *self._settings} if fresh.get(key) != self._settings.get(key)
        }
        if not changed <= set(LIVE_SETTINGS):
            return False
        for key in changed:
            apply_setting(self._server.agent, key, fresh[key])
        self._settings = fresh
        return True

    def _read_settings(self) -> dict[str, Any]:
        """The settings by dotted key, without those of the command line."""
        resolved = read_settings(self._folder, trusted=self._dev or self._server.project.trusted)
        return dict(_flat(resolved.settings.model_dump()))

    def _show(self, changed: list[Change]) -> None:
        if changed != self._server.changed:
            self._server.changed = changed
            self._server.changes.publish("trust", {"changed": changed})

    async def _watch(self, stop: asyncio.Event) -> None:
        signature = await asyncio.to_thread(self._signature)
        while not stop.is_set():
            async for has_events in self._events(stop):
                now = await asyncio.to_thread(self._signature)
                if has_events or now != signature:
                    await self.check()
                if now[-1] != signature[-1]:
                    signature = now
                    break  # Folders came or went: watch those that are there now.
                signature = now

    async def _events(self, stop: asyncio.Event) -> AsyncIterator[bool]:
        """Whether the system reported changes of code, at least every POLL_MS."""
        from watchfiles import awatch

        folders = [self._folder / name for name in CODE_FOLDERS if (self._folder / name).is_dir()]
        if not folders:
            await asyncio.sleep(POLL_MS / 1000)
            yield False
            return
        watching = awatch(
            *folders, stop_event=stop, rust_timeout=POLL_MS, yield_on_timeout=True, step=100
        )
        async for batch in watching:
            yield bool(batch)

    def _signature(self) -> tuple[Any, ...]:
        """What tells cheaply whether the settings or the user's trust changed."""
        files = (self._folder / FILE_NAME, user_folder() / "trust.json")
        folders = tuple((self._folder / name).is_dir() for name in CODE_FOLDERS)
        return (*map(_version, files), folders)


def differences(used: Snapshot, now: Snapshot) -> list[Change]:
    """The files that differ between two snapshots, with what happened to each."""
    changed = [
        {"path": name, "what": _what(used.code.files.get(name), now.code.files.get(name))}
        for name in used.code.differences(now.code)
    ]
    if used.settings != now.settings:
        changed.insert(0, {"path": FILE_NAME, "what": _what(used.settings, now.settings)})
    return changed


def _what(before: bytes | None, after: bytes | None) -> str:
    return "added" if before is None else "removed" if after is None else "changed"


def _version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Nested values by dotted key."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        key = f"{above}{name}"
        found += _flat(value, f"{key}.") if isinstance(value, dict) else [(key, value)]
    return found
