"""Language models behind one interface, `Model`."""

from agentkit.backends.base import Capabilities, Model, Options
from agentkit.backends.registry import get_model
from agentkit.backends.scripted import ScriptedModel

__all__ = ["Capabilities", "Model", "Options", "ScriptedModel", "get_model"]
