"""Keep transformers' own bars and remarks off the screen while it works for us. Bars of downloads,
which are the hub's, stay.

Its switches are those of the whole process: they are put back when the last block ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

_lock = threading.Lock()
_open: list[tuple[int, Any]] = []


@contextmanager
def quiet() -> Iterator[None]:
    """Only errors are logged in the block, and no bar is drawn. Blocks may overlap."""
    import transformers

    logging = transformers.utils.logging
    with _lock:
        hook = logging.set_tqdm_hook(_no_bar)
        _open.append(_open[0] if _open else (logging.get_verbosity(), hook))
        logging.set_verbosity_error()
        # The bar of its GGUF reader heeds no switch of its own.
        reader: Any = import_module("transformers.modeling_gguf_pytorch_utils")
        reader.tqdm = logging.tqdm
    try:
        yield
    finally:
        with _lock:
            verbosity, hook = _open.pop()
            if not _open:
                logging.set_verbosity(verbosity)
                logging.set_tqdm_hook(hook)


def _no_bar(factory: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    from transformers.utils.logging import EmptyTqdm

    return EmptyTqdm(*args, **kwargs)
