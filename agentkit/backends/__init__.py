"""Language models behind one interface, `Model`."""

from agentkit.backends.base import Capabilities, Model, Options

__all__ = ["Capabilities", "Model", "Options"]
