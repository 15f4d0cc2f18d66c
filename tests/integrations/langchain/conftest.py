"""LangChain's published tests are collected where its package of tests is installed."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("langchain_tests") else ["test_standard.py"]
