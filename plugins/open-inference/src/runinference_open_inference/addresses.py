"""Addresses of servers, which a pipeline carries and shows."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Sequence

from runinference.errors import ConfigurationError

__all__ = ["checked", "model_address", "split_address"]

_MODEL = re.compile(r"(?P<url>.*)/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>[^/]+))?")


def checked(url: str, schemes: Sequence[str]) -> str:
    """The address of a server, if it is one and holds no secret.

    Raises:
        ConfigurationError: another scheme, no host, or something that is not to be shown.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        is_address = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:  # a port that is no number, for example
        is_address, shown = False, "..."
    if not is_address or parts.scheme not in schemes:
        raise ConfigurationError(
            f"url={shown!r} is no address of a server: write {schemes[0]}://host:port"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigurationError(
            f"url={shown!r} has a user, a password or a query, which would be pickled into the "
            "pipeline and shown: leave them out, and name environment variables of the workers in "
            "bearer_token_env or headers_from_env"
        )
    return url.rstrip("/")


def model_address(url: str, name: str, version: str | None) -> str:
    """Where a server has a model, or a version of it."""
    address = f"{url.rstrip('/')}/v2/models/{urllib.parse.quote(name, safe='')}"
    return address if version is None else f"{address}/versions/{urllib.parse.quote(version, '')}"


def split_address(address: str) -> tuple[str, str, str | None]:
    """What :func:`model_address` made an address of.

    Raises:
        ConfigurationError: the address is none of a model.
    """
    found = _MODEL.fullmatch(address)
    if found is None:
        raise ConfigurationError(
            f"model path {address!r} is no address of a model: write "
            "http://host:port/v2/models/NAME, and /versions/VERSION behind it if need be"
        )
    name, version = found["name"], found["version"]
    unquoted = None if version is None else urllib.parse.unquote(version)
    return found["url"], urllib.parse.unquote(name), unquoted
