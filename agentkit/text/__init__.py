"""Text as search sees it: terms, sentences, folding and numbers."""

from agentkit.text.terms import fold as fold
from agentkit.text.terms import is_cjk as is_cjk
from agentkit.text.terms import sentences as sentences
from agentkit.text.terms import terms as terms
