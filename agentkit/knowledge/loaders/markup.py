"""Load reStructuredText, Org and LaTeX as Markdown: headings, code and lists keep their structure.

Only the structure is read: directives, drawers and macros are left out, formulas stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from agentkit.documents import Document
from agentkit.knowledge.chunking.splitter import first_heading
from agentkit.knowledge.loaders.files import Loaded
from agentkit.knowledge.loaders.notation import lowered, raised
from agentkit.knowledge.loaders.text import decoded

_MOST_LINE = 10_000
_ADORNMENT = re.compile(r"([!-/:-@\[-`{-~])\1{2,}\s*")
_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1*\s*")
_DIRECTIVE = re.compile(r"(\s*)\.\. (?:([\w:-]+)::\s*(.*)|.*)")
_HEADER = re.compile(r"(?<=\s):header:(?=\s)")
_OPTION = re.compile(r"\s+:[\w-]+:.*")
_ROLE = re.compile(r":[\w:+.-]{1,40}:`([^`<>]{1,300})(?:\s<[^`>]{0,300}>)?`")
_REFERENCE = re.compile(r"`([^`<>]{1,300})\s<[^`>]{0,300}>`__?")
_LITERAL = re.compile(r"``([^`]{1,300})``")
_ESCAPED = re.compile(r"\\(?:\s|([*_`|]))")
_LANGUAGE = re.compile(r"[\w+-]{0,30}")
_NOTES = (
    "note",
    "warning",
    "tip",
    "important",
    "caution",
    "danger",
    "hint",
    "attention",
    "admonition",
)
_CODE = ("code", "code-block", "sourcecode", "parsed-literal", "prompt", "console")


def load_rst(content: bytes, source: str) -> Loaded:
    """reStructuredText: the order in which adornments first appear is their level."""
    return _loaded(source, "\n".join(_rst(decoded(content).splitlines())))


def _loaded(source: str, text: str) -> Loaded:
    text = re.sub(r"\n{3,}", "\n\n", text).strip()
    title = first_heading(text) or PurePosixPath(source).stem
    return Loaded(Document(source, text, title))


def _rst(lines: list[str]) -> Iterator[str]:
    levels: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at][:_MOST_LINE]
        below = lines[at + 1] if at + 1 < len(lines) else ""
        over = _ADORNMENT.fullmatch(line)
        if over and at + 2 < len(lines) and below.strip() and lines[at + 2].strip() == line.strip():
            yield _heading(levels, f"{over[1]}{over[1]}", below)
            at += 3
        elif line.strip() and not line[0].isspace() and (under := _UNDERLINE.fullmatch(below)) and (
            len(below.rstrip()) >= len(line.rstrip())
        ):  # fmt: skip
            yield _heading(levels, under[1], line)
            at += 2
        elif directive := _DIRECTIVE.fullmatch(line):
            name, value = directive[2] or "", directive[3] or ""
            end = _block_end(lines, at + 1, len(directive[1]))
            body = [_HEADER.sub("", text) for text in lines[at + 1 : end]]
            body = [text for text in body if not _OPTION.fullmatch(text)]
            yield from _directive(name, value, body)
            at = end
        elif line.rstrip().endswith("::") and line.strip() != "::":
            end = _block_end(lines, at + 1, len(line) - len(line.lstrip()))
            yield _inline(line.rstrip()[:-1])
            yield from _fenced("", lines[at + 1 : end])
            at = end
        else:
            yield "" if over else _inline(line)
            at += 1


def _heading(levels: list[str], adornment: str, text: str) -> str:
    if adornment not in levels:
        levels.append(adornment)
    return f"\n{'#' * min(levels.index(adornment) + 1, 6)} {_inline(text.strip())}\n"


def _block_end(lines: list[str], at: int, indent: int) -> int:
    """Where the lines that are indented more than `indent` end."""
    end = at
    while at < len(lines):
        line = lines[at]
        if line.strip():
            if len(line) - len(line.lstrip()) <= indent:
                break
            end = at + 1
        at += 1
    return end


def _directive(name: str, value: str, body: list[str]) -> Iterator[str]:
    if name in _CODE:
        yield from _fenced(value, body)
    elif name == "math":
        yield "$$\n" + "\n".join(filter(str.strip, [value, *map(str.strip, body)])) + "\n$$"
    elif name in _NOTES:
        yield _inline(f"{name.capitalize()}: {value}" if value else f"{name.capitalize()}:")
        yield from (_inline(line.strip()) for line in body)
        yield ""
    elif name in ("figure", "image", "toctree", "include", "raw", "contents", "index", ""):
        yield ""
    else:
        yield _inline(value)
        yield from (_inline(line.strip()) for line in body)
        yield ""


def _fenced(language: str, body: list[str]) -> Iterator[str]:
    filled = [line for line in body if line.strip()]
    if filled:
        indent = min(len(line) - len(line.lstrip()) for line in filled)
        code = "\n".join(line[indent:] for line in body).strip("\n")
        language = language if _LANGUAGE.fullmatch(language) else ""
        yield f"\n```{language}\n{code}\n```\n"


def _inline(text: str) -> str:
    text = _ESCAPED.sub(r"\1", _ROLE.sub(_role, text))
    return _LITERAL.sub(r"`\1`", _REFERENCE.sub(r"\1", text))


def _role(match: re.Match[str]) -> str:
    name = match[0][1:].partition(":")[0]
    if name in ("sup", "superscript"):
        return raised(
            match.string[max(0, match.start() - 20) : match.start()].rstrip("\\ "), match[1]
        )
    if name in ("sub", "subscript"):
        return lowered(match[1])
    return f"${match[1]}$" if name == "math" else match[1]


_ORG_HEADING = re.compile(
    r"(\*{1,12})\s+(?:(?:TODO|DONE|NEXT|WAITING)\s+)?(?:\[#\w\]\s+)?(.*?)(?:\s+:[\w@:]+:)?\s*"
)
_ORG_KEYWORD = re.compile(r"#\+([A-Za-z_]+):\s*(.*)")
_ORG_BLOCK = re.compile(r"\s*#\+(begin|end)_(\w+)\s*(\S*).*", re.IGNORECASE)
_ORG_LINK = re.compile(r"\[\[[^\[\]]{1,500}\]\[([^\[\]]{1,500})\]\]|\[\[([^\[\]]{1,500})\]\]")
_ORG_STRUCK = re.compile(r"(?<![\w+])\+(?=\S)[^+\n]{1,200}(?<=\S)\+(?![\w+])")
_ORG_RAISED = re.compile(r"(?<=\w)\^\{([^{}]{1,60})\}")
_ORG_LOWERED = re.compile(r"(?<=\w)_\{([^{}]{1,60})\}")


def load_org(content: bytes, source: str) -> Loaded:
    """Org: title, author and date are metadata; drawers are left out."""
    metadata: dict[str, str] = {}
    lines: list[str] = []
    is_code = in_drawer = False
    for line in decoded(content).splitlines():
        block = _ORG_BLOCK.fullmatch(line[:_MOST_LINE])
        if block:
            is_code = block[1].lower() == "begin" and block[2].lower() in ("src", "example")
            fence = block[2].lower() in ("src", "example")
            lines.append(f"```{block[3] if is_code else ''}" if fence else "")
        elif is_code:
            lines.append(line)
        elif re.fullmatch(r"\s*:[\w-]+:\s*", line):
            in_drawer = line.strip().upper() != ":END:"
        elif in_drawer:
            continue
        elif keyword := _ORG_KEYWORD.fullmatch(line[:_MOST_LINE]):
            if keyword[1].lower() in ("title", "author", "date"):
                metadata[keyword[1].lower()] = keyword[2].strip(" <>[]")
        elif heading := _ORG_HEADING.fullmatch(line[:_MOST_LINE]):
            lines += ["", f"{'#' * min(len(heading[1]), 6)} {_org_inline(heading[2])}", ""]
        elif not line.startswith("# "):
            lines.append(_org_inline(line))
    loaded = _loaded(source, "\n".join(lines))
    document = loaded.document
    title = metadata.get("title") or document.title
    return Loaded(Document(source, document.text, title, metadata=dict(metadata)))


def _org_inline(text: str) -> str:
    text = _ORG_LINK.sub(lambda match: match[1] or match[2], text)
    text = _ORG_STRUCK.sub("", text)
    text = _ORG_RAISED.sub(lambda match: raised("1", match[1]), text)
    return _ORG_LOWERED.sub(lambda match: lowered(match[1]), text)


_TEX_COMMENT = re.compile(r"(?<!\\)%.*")
_TEX_SECTION = re.compile(
    r"\\(part|chapter|section|subsection|subsubsection|paragraph)\*?(?:\[[^\]\n]{0,300}\])?\{((?:[^{}\n]|\{[^{}\n]{0,100}\}){1,300}+)\}"
)
_TEX_LEVELS = ("part", "chapter", "section", "subsection", "subsubsection", "paragraph")
_TEX_VERBATIM = re.compile(
    r"\\begin\{(verbatim|lstlisting|minted)\}(?:\[[^\]\n]{0,300}\])?(?:\{(\w{0,30})\})?(.*?)\\end\{\1\}",
    re.DOTALL,
)
_TEX_MATH = re.compile(
    r"\\begin\{(equation|align|gather|multline|displaymath|eqnarray)(\*?)\}(.*?)\\end\{\1\2\}",
    re.DOTALL,
)
_TEX_META = re.compile(r"\\(title|author|date)\{((?:[^{}\n]|\{[^{}\n]{0,100}\}){1,300}+)\}")
_TEX_FOOTNOTE = re.compile(r"\\footnote\{([^{}]{1,2000})\}")
_TEX_RAISED = re.compile(r"\\text(superscript|subscript)\{([^{}]{1,60})\}")
_TEX_STRUCK = re.compile(r"\\(?:sout|st|cancel|xout)\{[^{}]{0,500}\}")
_TEX_SLASHED = re.compile(r"\\(?:nice|s|t|d)?frac\{([^{}]{1,60})\}\{([^{}]{1,60})\}")
_TEX_KEPT = re.compile(
    r"\\(?:emph|textbf|textit|texttt|textsc|textrm|textsf|underline|mbox|url|text)\{([^{}]{0,500})\}"
)
_TEX_LINK = re.compile(r"\\href\{[^{}]{0,500}\}\{([^{}]{0,500})\}")
_TEX_DROPPED = re.compile(
    r"\\(?:label|ref|eqref|pageref|cite[a-z]*|usepackage|documentclass|bibliography|bibliographystyle|"
    r"includegraphics|input|include|vspace|hspace|pagestyle|thispagestyle|setlength|newcommand|index)"
    r"\*?(?:\[[^\]]{0,300}\])?(?:\{[^{}]{0,300}\})*"
)
_TEX_FRAME = re.compile(
    r"\\(?:begin|end)\{[A-Za-z*]{1,40}\}(?:\[[^\]\n]{0,100}\])?(?:\{[^{}\n]{0,200}\})?"
)
_TEX_FORMULA = re.compile(
    r"\$\$.{1,2000}?\$\$|\$[^$\n]{1,500}\$|\\\[.{1,2000}?\\\]|\\\([^\n]{1,500}?\\\)", re.DOTALL
)
_TEX_SIGNS = {
    "\\%": "%", "\\&": "&", "\\_": "_", "\\#": "#", "\\$": "$", "\\{": "{", "\\}": "}", "~": " ",
    "---": "—", "--": "–", "``": "“", "''": "”", "\\\\": "\n", "\\ldots": "…",
}  # fmt: skip


def load_tex(content: bytes, source: str) -> Loaded:
    """LaTeX: sections, lists and formulas; title, author and date are metadata."""
    text = "\n".join(_TEX_COMMENT.sub("", line) for line in decoded(content).splitlines())
    metadata = {match[1]: _tex_plain(match[2]).strip() for match in _TEX_META.finditer(text)}
    _, begin, body = text.partition("\\begin{document}")
    body = _TEX_META.sub("", body if begin else text).partition("\\end{document}")[0]
    kept: list[str] = []
    notes: list[str] = []

    def keep(written: str) -> str:
        kept.append(written)
        return f"\0{len(kept) - 1}\0"

    body = _TEX_VERBATIM.sub(
        lambda m: keep(f"\n\n```{m[2] or ''}\n{m[3].strip(chr(10))}\n```\n\n"), body
    )
    body = _TEX_MATH.sub(lambda m: keep(f"\n\n$$\n{m[3].strip()}\n$$\n\n"), body)
    body = _TEX_FORMULA.sub(lambda m: keep(_tex_formula(m[0])), body)

    def note(match: re.Match[str]) -> str:
        notes.append(_tex_plain(match[1]))
        return f"[^{len(notes)}]"

    body = _TEX_FOOTNOTE.sub(note, body)
    present = [name for name in _TEX_LEVELS if f"\\{name}" in body]

    def heading(match: re.Match[str]) -> str:
        level = min(present.index(match[1]) + 1, 6)
        return f"\n\n{'#' * level} {match[2]}\n\n"

    body = _tex_plain(_TEX_SECTION.sub(heading, body))
    body = "\n".join(
        line.strip() if not line.startswith("    ") else line for line in body.splitlines()
    )
    body += "".join(f"\n\n[^{at}]: {written}" for at, written in enumerate(notes, 1))
    body = re.sub(r"\0(\d+)\0", lambda m: kept[int(m[1])], body)
    loaded = _loaded(source, body).document
    title = metadata.get("title") or loaded.title
    return Loaded(Document(source, loaded.text, title, metadata=dict(metadata)))


def _tex_formula(text: str) -> str:
    if text.startswith("\\["):
        return f"\n\n$$\n{text[2:-2].strip()}\n$$\n\n"
    return f"${text[2:-2].strip()}$" if text.startswith("\\(") else text


def _tex_plain(text: str) -> str:
    """Text without macros: what they only format is kept, what they only arrange is left out."""
    text = _TEX_RAISED.sub(
        lambda m: raised(m.string[max(0, m.start() - 20) : m.start()], m[2])
        if m[1] == "superscript" else lowered(m[2]), text,
    )  # fmt: skip
    text = _TEX_SLASHED.sub(r"\1/\2", text)
    text = _TEX_LINK.sub(r"\1", _TEX_STRUCK.sub("", text))
    for _ in range(3):
        text = _TEX_KEPT.sub(r"\1", text)
    text = _TEX_DROPPED.sub("", text)
    text = re.sub(
        r"\\item(?:\[([^\]\n]{0,100})\])?\s*", lambda m: f"\n- {m[1] + ' ' if m[1] else ''}", text
    )
    text = _TEX_FRAME.sub("\n", text)
    for sign, plain in _TEX_SIGNS.items():
        text = text.replace(sign, plain)
    return re.sub(r"\\[A-Za-z]{1,40}\*?", "", text).replace("{", "").replace("}", "")
