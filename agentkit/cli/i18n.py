"""Translate messages of the command line: English, or Chinese from the gettext catalog.

AGENTKIT_LANG=zh or en decides, else the locale's variables. Output for programs and errors of the
lower layers stay English. `make messages` extracts the messages of cli/ and compiles the catalog.
"""

from __future__ import annotations

import gettext as _gettext
import os
from functools import cache
from pathlib import Path

DOMAIN = "agentkit"
LOCALES = Path(__file__).parents[1] / "locale"
_VARIABLES = ("AGENTKIT_LANG", "LC_ALL", "LC_MESSAGES", "LANG")


def _(message: str) -> str:
    """A message in the user's language."""
    return _translations(language()).gettext(message)


def counted(singular: str, plural: str, count: int) -> str:
    """A message with `{count}` in the form that the count needs."""
    return _translations(language()).ngettext(singular, plural, count).format(count=count)


def N_(message: str) -> str:  # noqa: N802 (the usual name of this marker)
    """Mark a message for extraction that is translated elsewhere."""
    return message


def language() -> str:
    """The user's language by the environment: "zh" or "en"."""
    value = next(filter(None, (os.environ.get(name, "") for name in _VARIABLES)), "")
    return "zh" if value.lower().startswith("zh") else "en"


def install() -> None:
    """Let typer translate its own messages, which it looks up in the default domain."""
    os.environ["LANGUAGE"] = language()
    _gettext.bindtextdomain(DOMAIN, str(LOCALES))
    _gettext.textdomain(DOMAIN)


MISSING_COMMAND = N_("Missing command.")
TYPER_MESSAGES = (
    N_("Arguments"),
    N_("Options"),
    N_("Commands"),
    N_("default: {default}"),
    N_("required"),
    N_("Show this message and exit."),
    MISSING_COMMAND,
    N_("No such command {name!r}."),
)


@cache
def _translations(name: str) -> _gettext.NullTranslations:
    if name == "en":
        return _gettext.NullTranslations()
    return _gettext.translation(DOMAIN, LOCALES, [name], fallback=True)
