"""The HTTP server of a project folder: an OpenAI-compatible API, and a page with its own API."""
