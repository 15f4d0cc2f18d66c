"""Models on an Ollama server."""
