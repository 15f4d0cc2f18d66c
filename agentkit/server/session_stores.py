"""The sessions of each identity, in a store of its own: nobody's id leads to another's session.

Whoever uses this machine has the sessions that the folder's command line has too.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from agentkit.agent.session import Session
from agentkit.agent.session_store import SessionInfo, SessionStore
from agentkit.errors import SessionNotFound
from agentkit.project.project import Project
from agentkit.server.auth import LOCAL, Identity
from agentkit.server.errors import ApiError
from agentkit.settings.schema import GENERATED


class SessionStores:
    """The session stores of a project by identity, opened at first use."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._stores: dict[str, SessionStore] = {}
        self._opening = asyncio.Lock()

    async def of(self, identity: Identity) -> SessionStore:
        """The store of an identity. Raises ConfigError."""
        async with self._opening:
            if identity.name not in self._stores:
                self._stores[identity.name] = await asyncio.to_thread(self._open, identity.name)
            return self._stores[identity.name]

    def close(self) -> None:
        """Close the stores, except that of the project, which it closes itself."""
        for name, store in self._stores.items():
            if name != LOCAL.name:
                store.close()
        self._stores.clear()

    def _open(self, name: str) -> SessionStore:
        own = self._project.sessions
        if name == LOCAL.name:
            return own
        folder = self._project.path / GENERATED / "sessions"
        return SessionStore(folder / f"{quote(name, safe='@')}.sqlite")


def find_session(store: SessionStore, session_id: str) -> SessionInfo:
    """A session by its whole id. Raises ApiError for an unknown one."""
    try:
        if session_id and (found := store.find(session_id)).id == session_id:
            return found
    except SessionNotFound:
        pass
    raise ApiError(404, "There is no such session. Load the list again.", "session_not_found")


def read_session(store: SessionStore, session_id: str) -> Session:
    """A copy of a session by its whole id. Raises ApiError for an unknown one."""
    return store.read(find_session(store, session_id).id)
