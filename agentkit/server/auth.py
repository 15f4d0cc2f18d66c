"""Who calls: identities, their roles, and the FastAPI dependencies that demand them.

A request is identified once, by the guard before every route (`guard.py`). A route names the role
that it needs: `identity: Annotated[Identity, Depends(require("ask"))]`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from fastapi import Depends
from starlette.requests import Request

from agentkit.server.errors import ApiError

Role = Literal["ask", "documents", "approve"]
"""What a key may do: ask questions and have sessions, manage documents, decide on tool calls."""

ROLES: frozenset[Role] = frozenset(get_args(Role))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls. Sessions, runs and rates are kept by its name."""

    name: str
    roles: frozenset[Role]


LOCAL = Identity("local", ROLES)
"""Whoever uses this machine, where no key is demanded."""


async def current(request: Request) -> Identity:
    """The identity of a request, as a FastAPI dependency. Raises ApiError without one."""
    identity = request.scope.get("state", {}).get("identity")
    if not isinstance(identity, Identity):
        raise ApiError(401, "This server demands a key. Send it as a bearer token.")
    return identity


@dataclass(frozen=True, slots=True)
class RoleRequirement:
    """A dependency that returns the identity of a request if it has a role. Raises ApiError if it
    has not."""

    role: Role

    async def __call__(self, request: Request) -> Identity:
        identity = await current(request)
        if self.role not in identity.roles:
            raise ApiError(
                403,
                f"The key {identity.name!r} does not have the role {self.role!r}. "
                f"Make one that has: agentkit keys add NAME --role {self.role}",
                "role_missing",
            )
        return identity


def require(role: Role) -> RoleRequirement:
    """A dependency that demands a role: `Depends(require("ask"))`."""
    return RoleRequirement(role)


Asker = Annotated[Identity, Depends(require("ask"))]
"""Who asks, as a parameter of a route."""
