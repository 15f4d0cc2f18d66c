"""agentkit: retrieval-augmented agents that cite their sources.

The public names are listed in `__init__.pyi`. Each is imported at its first use, so that `import
agentkit` loads none of the libraries behind them.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
