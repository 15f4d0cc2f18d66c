"""The server of the backends' tests, for the tests of keys."""

from tests.backends.conftest import openai_server, running_openai  # noqa: F401
