"""Load the formats that Office wrote until 2006 (.doc, .xls, .ppt) with LibreOffice, where it is.

LibreOffice converts the file in a folder of its own, with a profile of its own and a time limit.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path, PurePosixPath

from agentkit._child.worker import lift_memory_limit
from agentkit.errors import KnowledgeError
from agentkit.knowledge.loaders.files import Loaded, parse

_SECONDS = 60
_TARGETS = {".doc": ".docx", ".xls": ".xlsx", ".ppt": ".pptx"}


def load_legacy(content: bytes, source: str) -> Loaded:
    """Raises KnowledgeError where LibreOffice is not installed or cannot convert the file."""
    suffix = PurePosixPath(source).suffix.lower()
    target = _TARGETS[suffix]
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        raise KnowledgeError(f"old format: save it as {target}, or install LibreOffice")
    with tempfile.TemporaryDirectory(prefix="agentkit-") as folder:
        file = Path(folder, f"document{suffix}")
        file.write_bytes(content)
        command = [
            office, f"-env:UserInstallation={Path(folder, 'profile').as_uri()}", "--headless",
            "--convert-to", target[1:], "--outdir", folder, str(file),
        ]  # fmt: skip
        try:
            subprocess.run(
                command,
                capture_output=True,
                timeout=_SECONDS,
                check=True,
                cwd=folder,
                preexec_fn=lift_memory_limit if os.name == "posix" else None,
            )
            converted = file.with_suffix(target).read_bytes()
        except (OSError, subprocess.SubprocessError) as error:
            raise KnowledgeError(f"LibreOffice cannot convert it: save it as {target}") from error
        loaded = parse(converted, str(PurePosixPath(source).with_suffix(target)), source)
    document = replace(loaded.document, source=source)
    if not document.parts:
        # A field that names the file was filled with the name of the copy.
        text = document.text.replace(str(file), PurePosixPath(source).name)
        document = replace(document, text=text)
    return replace(loaded, document=document)
