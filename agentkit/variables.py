"""Settings out of the environment: AGENTKIT_MODEL, AGENTKIT_KNOWLEDGE__RESULTS.

Two underscores lead into a table. A name that is free (a provider's, a model's) is the one a table
below has, else the variable's in small letters; what a variable's name cannot spell goes into the
table's own variable, written in TOML: AGENTKIT_PRICES='{"openai:gpt-5-mini" = {...}}'. A variable
that is empty counts as not set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from agentkit.errors import ConfigError
from agentkit.setting_names import Key, kind_of, known, typed
from agentkit.settings import Settings

PREFIX = "AGENTKIT_"
RESERVED = frozenset(
    PREFIX + name
    for name in (
        "DEBUG", "LANG", "SCREEN_READER", "MCP_DEPTH", "CHAOS_SEEDS", "SMOLLM2_QUESTIONS",
        "WRITE_SCREENS",
    )
)  # fmt: skip
RESERVED_BEGINNINGS = (PREFIX + "TEST_", PREFIX + "INPUT_")


def from_variables(
    environ: Mapping[str, str], names: Iterable[str] = ()
) -> tuple[list[tuple[str, Key, Any]], list[str]]:
    """(variable, key, value) of each setting, and what to tell the user of names that are none.
    `names` are the free names that are known.

    A wrong name inside one of our tables raises ConfigError, as in a file; another one may belong
    to another program or a newer agentkit, and is only said."""
    spelled = {_spelled(name): name for name in names}
    found: list[tuple[str, Key, Any]] = []
    notices: list[str] = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or not environ[name] or is_reserved(name):
            continue
        key = _key_of(name, spelled)
        if key[0] not in Settings.model_fields:
            notices.append(_unknown(name))
            continue
        try:
            kind = kind_of(key)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
        found.append((name, key, typed(environ[name], kind)))
    return found, notices


def _key_of(name: str, spelled: Mapping[str, str]) -> Key:
    first, *rest = name.removeprefix(PREFIX).lower().split("__")
    return (first, *(spelled.get(part, part) if n == 0 else part for n, part in enumerate(rest)))


def _spelled(name: str) -> str:
    """A free name as a variable can spell it."""
    return re.sub(r"\W", "_", name.lower(), flags=re.ASCII)


def name_of(key: Key) -> str:
    """The variable that sets a key."""
    return PREFIX + "__".join(key).upper()


def is_reserved(name: str) -> bool:
    """Whether a variable is ours and no setting."""
    return name in RESERVED or name.startswith(RESERVED_BEGINNINGS)


def _unknown(name: str) -> str:
    names = {name_of(key) for key in known()} | RESERVED
    plain = sorted(each.removeprefix(PREFIX) for each in names)
    near = get_close_matches(name.removeprefix(PREFIX), plain, n=1)
    hint = f" Did you mean {PREFIX}{near[0]}?" if near else ""
    return f"{name} sets nothing: it is no setting.{hint}"
