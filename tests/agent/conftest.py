"""The servers and the weights that the tests of the backends have, for the agent's too."""

from tests.backends.conftest import (  # noqa: F401
    openai_model,
    openai_server,
    running_openai,
    smollm2_gguf,
)
