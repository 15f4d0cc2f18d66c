"""The OpenAI-compatible API, by which any client that speaks it asks the folder's agent."""
