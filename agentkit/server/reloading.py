"""Notice changes of agentkit.toml, tools/ and mcp_servers/ while the server runs.

What changed is reported, shown to the open pages, and waits until the user trusts it; then the
project is opened again. Settings that a running agent takes on are applied at once. With `dev`,
every change counts as trusted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

from agentkit._sync import in_background
from agentkit.errors import AgentkitError
from agentkit.findings import for_folder, join_names
from agentkit.project.changes import watch_trusted_files
from agentkit.project.trust import Snapshot, take
from agentkit.redaction import get_logger
from agentkit.server.service import Service
from agentkit.server.settings_api import LIVE_SETTINGS, apply_setting
from agentkit.settings.schema import FILE_NAME
from agentkit.settings.sources import read_settings

log = get_logger(__name__)

Change = dict[str, str]
"""A file that changed, as `path`, and `what` happened to it; without a path, what is wrong."""


class TrustWatch:
    """Watches the files of a project that need trust, while `running()` is entered. `report` gets
    a line for people when something changed."""

    def __init__(
        self, server: Service, *, dev: bool = False, report: Callable[[str], None] = log.warning
    ) -> None:
        self._server, self._dev, self._report = server, dev, report
        self._folder = server.project.path
        self._used = take(self._folder)
        self._settings: dict[str, Any] = {}
        with suppress(AgentkitError):  # They may be changing right now.
            self._settings = self._read_settings()

    def running(self) -> AbstractAsyncContextManager[None]:
        """Watch within the block."""
        return in_background(watch_trusted_files(self._folder, self.check))

    async def check(self) -> None:
        """Compare the files with those that are used, and act on what changed."""
        try:
            now = await asyncio.to_thread(take, self._folder)
            is_trusted = self._dev or await asyncio.to_thread(lambda: now.is_trusted)
        except AgentkitError as error:
            self._show([{"path": "", "what": str(error)}], str(error))
            return
        changed = differences(self._used, now)
        names = join_names([each["path"] for each in changed])
        if not is_trusted:
            command = for_folder("agentkit trust", self._folder)
            notice = (
                f"Changed, and not used until you trust it: {names}. Review it, then run: {command}"
            )
            self._show(changed, notice)
            return
        if [each["path"] for each in changed] == [FILE_NAME] and self._apply():
            self._used, changed = now, []
        if changed or not self._server.project.trusted:
            self._report(f"The folder is opened again: {names or 'its trust'} changed.")
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

    def _show(self, changed: list[Change], notice: str = "") -> None:
        if changed != self._server.changed:
            if changed:
                self._report(notice)
            self._server.changed = changed
            self._server.changes.publish("trust", {"changed": changed})


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


def _flat(values: Mapping[str, Any], above: str = "") -> list[tuple[str, Any]]:
    """Nested values by dotted key."""
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        key = f"{above}{name}"
        found += _flat(value, f"{key}.") if isinstance(value, dict) else [(key, value)]
    return found
