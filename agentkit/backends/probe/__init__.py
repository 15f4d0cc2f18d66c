"""Live checks of what a model and its server can do: `agentkit probe`."""
