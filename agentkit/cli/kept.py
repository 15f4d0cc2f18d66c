"""The session that a command goes on in: by name, the last one, or a new one."""

from __future__ import annotations

from agentkit.agent.session_store import LAST, SessionStore, StoredSession


def kept_session(store: SessionStore, name: str, resume: bool) -> StoredSession:
    """The session of that name, begun where there is none; else the last one or a new one. Raises
    ConfigError where another process has it open."""
    known = {found for info in store.recent() for found in (info.id, info.name)}
    if name and name not in known:
        return store.create(name)
    return store.open(name or LAST) if name or resume else store.create()
