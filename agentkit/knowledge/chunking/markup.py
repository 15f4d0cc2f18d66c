"""Markup of documentation sites that says nothing to a reader, and the text of a chunk without it.

MyST and VitePress pages carry anchors (`{#id}`, `(label)=`), directive fences (`:::`), roles
(`{ref}`) and badges; any page may carry links of hundreds of characters. `plain` leaves them out
of what is embedded and searched; a chunk's text stays an exact slice.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from agentkit.documents import Chunk
from agentkit.text.terms import clean

_LONGEST_ADDRESS = 60
_MOST_EMBEDDED = 8_000
"""Characters of a chunk that are embedded: a row of a table, which is never split, may be longer
than any document."""
_LEAST_CHARACTERS, _LEAST_LETTERS = 300, 0.02
"""A longer text with a smaller share of letters in distinct words is numbers or repetition: its
words are embedded once, which is all that an embedder sees in it. Keywords find the numbers."""
_WORD = re.compile(r"[^\W\d_]+")
_LINE_START, _LINE_END = r"(?:^|(?<=\r))[ \t]*", r"[ \t]*(?=\r|\n|\Z)"
_LINE_MARKUP = re.compile(
    rf"""
      {_LINE_START}\([\w.:/ -]+\)={_LINE_END}                 # a MyST label
    | (?<![ \t])[ \t]*\{{\#[\w.:-]+\}}                        # the anchor of a heading
    | {_LINE_START}:{{3,}}[ \t]*(?:\{{[\w-]+\}}|[a-z][\w-]*)?  # a directive, but not its title
    | {_LINE_START}(?:`{{3,}}|~{{3,}}){_LINE_END}             # the end of a code block
    | \[!\[[^\]\n]{{0,300}}\]\([^)\n]{{0,500}}\)\]            # a linked image: a badge
      (?:\([^)\n]{{0,500}}\)|\[[^\]\n]{{0,300}}\])
    | </?[A-Z]?\w*Badge\b[^<>\n]*>                            # a badge of VitePress
    | \A\s*<[A-Z]\w*\b[^<>]*/>\s*\Z                           # a component of a page, alone
    | <br[ ]*/?>
    """,
    re.VERBOSE | re.MULTILINE,
)
_ROLE = re.compile(r"\{[a-z][\w:-]{0,40}\}`([^`<\n]{0,300}?)\s?(?:<[^>`\n]{0,300}>)?`")
_LINK = re.compile(
    r"!?\[([^\[\]\n]*)\]\((?:[^()\s]|\([^()\s]{0,200}\))*+(?:\s\"[^\"\n]{0,300}\")?\)"
)
_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]{0,20}://[^\s<>\"'）】」，。；、]+", re.IGNORECASE)
_ENCODED = re.compile(r"[A-Za-z0-9+/=_%-]{80,}")
"""Base64 and the like: no word, path or identifier is so long."""
_HIDDEN = re.compile(r"\s*<(?:script|style)\b.*", re.DOTALL | re.IGNORECASE)


def plain(text: str) -> str:
    """A text as it is searched: labels, anchors, fences, badges and the targets of links left out,
    addresses shortened, encoded data removed."""
    text = _LINE_MARKUP.sub("", text)
    text = _ROLE.sub(r"\1", text)
    text = _LINK.sub(r"\1", text)
    text = _ADDRESS.sub(_short_address, text)
    return _ENCODED.sub("", text).strip()


def is_markup_only(text: str) -> bool:
    """Whether a block of Markdown outside code shows nothing to a reader: a script, a style, a
    label, a fence, a badge or encoded data."""
    shown = plain(text)
    is_blank = shown != text.strip() and not any(map(str.isalnum, shown))
    return is_blank or bool(_HIDDEN.match(text))


def index_text(chunk: Chunk) -> str:
    """The text of a chunk that is embedded and searched: title and headings, what a cut table's
    columns are called, then its text as `plain` gives it. A title that is only the file's name is
    left out, so that a renamed file is not embedded again."""
    has_title = chunk.title != clean(PurePosixPath(chunk.source).stem)
    path = chunk.heading
    if has_title and not path.startswith(chunk.title):
        path = f"{chunk.title} > {path}".removesuffix(" > ")
    text = _embedded(plain(chunk.text[: 4 * _MOST_EMBEDDED])[:_MOST_EMBEDDED])
    return "\n".join(filter(None, (path, chunk.context, text)))


def _embedded(text: str) -> str:
    """A text, or its distinct words where these are few."""
    if len(text) < _LEAST_CHARACTERS:
        return text
    words = dict.fromkeys(_WORD.findall(text))
    is_poor = sum(map(len, words)) < _LEAST_LETTERS * len(text)
    return (" ".join(words) or text[:_LONGEST_ADDRESS]) if is_poor else text


def _short_address(match: re.Match[str]) -> str:
    """An address up to its query or fragment where it is long."""
    address = match[0]
    if len(address) <= _LONGEST_ADDRESS:
        return address
    return re.split("[?#]", address, maxsplit=1)[0][:_LONGEST_ADDRESS]
