"""Fixtures of the backends, for the tests of the agent too."""

from tests.backends.conftest import openai_model, smollm2_gguf  # noqa: F401
