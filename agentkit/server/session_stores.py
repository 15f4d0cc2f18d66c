"""The sessions of each identity, in a store of its own: nobody's id leads to another's session.

Whoever uses this machine has the sessions that the folder's command line has too.
"""

from __future__ import annotations

import asyncio
from urllib.parse import quote

from agentkit.agent.postgres_storage import PostgresStorage
from agentkit.agent.session import Session
from agentkit.agent.session_storage import SqliteStorage
from agentkit.agent.session_store import SessionInfo, SessionStore
from agentkit.errors import SessionNotFound
from agentkit.project.project import Project, sessions_path
from agentkit.server.auth import LOCAL, Identity
from agentkit.server.background_storage import BackgroundStorage
from agentkit.server.errors import ApiError
from agentkit.settings.schema import make_generated_folder


class SessionStores:
    """The session stores of a project by identity, opened at first use: in the database of `url`,
    or with "" in SQLite files of the project."""

    def __init__(self, project: Project, url: str = "") -> None:
        self._project, self._url = project, url
        self._stores: dict[str, SessionStore] = {}
        self._storages: dict[str, BackgroundStorage] = {}
        self._database: PostgresStorage | None = None
        self._opening = asyncio.Lock()

    async def of(self, identity: Identity) -> SessionStore:
        """The store of an identity. Raises ConfigError."""
        async with self._opening:
            if identity.name not in self._stores:
                storage = await asyncio.to_thread(self._open, identity.name)
                self._storages[identity.name] = storage
                self._stores[identity.name] = SessionStore(storage)
            return self._stores[identity.name]

    async def settle(self, owner: str, session_id: str) -> None:
        """Wait until a session of an identity is stored as it is now. Raises AgentkitError."""
        await self._storages[owner].settle(session_id)

    def close(self) -> None:
        """Store what waits, and close the stores."""
        for name, store in self._stores.items():
            store.close()
            self._storages[name].close()
        if self._database:
            self._database.close()

    def _open(self, name: str) -> BackgroundStorage:
        if self._url:
            self._database = self._database or PostgresStorage(self._url)
            return BackgroundStorage(self._database.of_owner(name))
        make_generated_folder(self._project.path)
        path = sessions_path(self._project.path)
        if name != LOCAL.name:
            path = path.parent / "sessions" / f"{quote(name, safe='@')}.sqlite"
        return BackgroundStorage(SqliteStorage(path))


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
