"""Six applications written with pydantic-ai 2.68, beside the same six of examples/."""
