"""Headers with secrets, read from environment variables in the worker and shown nowhere."""

from __future__ import annotations

import os
from collections.abc import Mapping

from runinference.errors import ConfigurationError

__all__ = ["Secrets"]

_HIDDEN = "***"


class Secrets:
    """What the environment holds; made in the worker, never pickled.

    Args:
        bearer_token_env: the variable that holds a token.
        headers_from_env: by a header's name, the variable that holds its value.

    Raises:
        ConfigurationError: a variable that is not set in this process.
    """

    def __init__(
        self, bearer_token_env: str | None, headers_from_env: Mapping[str, str] | None
    ) -> None:
        variables = dict(headers_from_env or {})
        self.headers = {header: _read(variable) for header, variable in variables.items()}
        self._values = list(self.headers.values())
        if bearer_token_env is not None:
            token = _read(bearer_token_env)
            self.headers["Authorization"] = f"Bearer {token}"
            self._values.append(token)

    def hide(self, text: str) -> str:
        """A text of the server's without the secrets that it may repeat."""
        for value in self._values:
            text = text.replace(value, _HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self.headers)})"

    def __reduce__(self) -> str:
        raise TypeError("secrets are not pickled: each worker reads its own environment")


def _read(variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigurationError(
            f"the environment variable {variable} is not set in the worker, where the server's "
            "credentials are read: set it there, not in the pipeline"
        )
    return value
