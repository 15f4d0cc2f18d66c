"""`agentkit completion SHELL`: the script that lets a shell complete commands and names."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from agentkit.cli.lazy import COMPLETE

_COLONS = "COMP_WORDBREAKS=${COMP_WORDBREAKS//:}"
"""Names of models hold colons, at which bash would break a word in two."""


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="Which shell.")],
) -> None:
    """Print the script that makes a shell complete commands, options and names on Tab."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    if shell == "bash":
        print(_COLONS)
    print(get_completion_script(prog_name="agentkit", complete_var=COMPLETE, shell=shell))
