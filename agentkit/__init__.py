"""agentkit: retrieval-augmented agents that cite their sources.

The public names are listed in `__init__.pyi`. Each is imported at its first use, so that `import
agentkit` loads none of the libraries behind them.
"""

import sys

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

if getattr(sys, "frozen", False):  # Such a program starts itself as a child.
    from agentkit._child import worker as _worker

    _worker.serve_if_child()
