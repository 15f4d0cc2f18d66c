"""Settings of a project: their schema, where each comes from, and the keys of providers."""

from agentkit.settings.schema import FILE_NAME, Settings

__all__ = ["FILE_NAME", "Settings"]
