"""Secrets of eight forms, to plant and to search for.

They are put together here, so that scanners of repositories find none.
"""

_BODY = "q7Xw3ZrT9kLm2VbN8cYd4HsJ6fGp1Ea5"

SECRETS = {
    "OpenAI key": f"sk-proj-{_BODY}",
    "Anthropic key": f"sk-ant-api03-{_BODY}",
    "AWS key": "wJalrXUtnFEMI/K7MDENG/" + _BODY[:18],
    "AWS key id": "AKIA" + "Z7QX3MRT9KLM2VBN",
    "GitHub token": f"ghp_{_BODY}abcd",
    "bearer token": f"{_BODY[::-1]}.tok",
    "URL password": "pw" + _BODY[:12],
    "query value": "qv" + _BODY[:12][::-1],
    "private key": f"MIIEvQIBADANBg{_BODY}{_BODY}",
}
"""What must not be found, by form."""

PEM = "-----BEGIN PRIVATE KEY-----\n" + SECRETS["private key"] + "\nabcd\n-----END PRIVATE KEY-----"
TEXTS = {
    "OpenAI key": f"invalid key {SECRETS['OpenAI key']}.",
    "Anthropic key": f"x-api-key: {SECRETS['Anthropic key']}",
    "AWS key": f"AWS_SECRET_ACCESS_KEY={SECRETS['AWS key']}",
    "AWS key id": f"credential {SECRETS['AWS key id']}/20261128",
    "GitHub token": f"fatal: bad token {SECRETS['GitHub token']}",
    "bearer token": f"Authorization: Bearer {SECRETS['bearer token']}",
    "URL password": f"cannot reach https://me:{SECRETS['URL password']}@db.example/x",
    "query value": f"404 for url 'https://api.example/v1?id=7&key={SECRETS['query value']}#top'",
    "private key": f"cannot parse {PEM}",
}
"""A sentence as programs report it, by form."""

VARIABLES = {
    "OPENAI_API_KEY": SECRETS["OpenAI key"],
    "ANTHROPIC_API_KEY": SECRETS["Anthropic key"],
    "AWS_SECRET_ACCESS_KEY": SECRETS["AWS key"],
    "AWS_ACCESS_KEY_ID": SECRETS["AWS key id"],
    "GITHUB_TOKEN": SECRETS["GitHub token"],
    "DEPLOY_PRIVATE_KEY": PEM,
}


def found_in(text: str) -> list[str]:
    """The forms of the secrets that a text contains."""
    return [form for form, secret in SECRETS.items() if secret in text]
