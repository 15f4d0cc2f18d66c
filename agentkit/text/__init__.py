"""Text analysis for search and citations: terms, sentences and quantities."""
