"""Text analysis for search and citations: terms, sentences and quantities."""

from agentkit.text.terms import Similarity, fold, is_cjk, sentences, terms

__all__ = ["Similarity", "fold", "is_cjk", "sentences", "terms"]
