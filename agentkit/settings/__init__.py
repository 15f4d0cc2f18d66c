"""Settings of a project: their schema, where each comes from, and the keys of providers."""

from agentkit.settings.schema import FILE_NAME as FILE_NAME
from agentkit.settings.schema import Settings as Settings
