"""What environment variables forbid; none of them permits anything.

- ``RUNINFERENCE_PLUGINS_ALLOW``: the only distributions whose handlers and observers may be used,
  with commas between.
- ``RUNINFERENCE_PLUGINS_DENY``: distributions whose handlers and observers may not.
- ``RUNINFERENCE_FORBID_MODEL_CODE``: where set to anything but ``0``, options that let a model file
  run code are errors.

An empty variable is as good as none.
"""

from __future__ import annotations

import os

from packaging.utils import canonicalize_name

__all__ = ["VARIABLES", "model_code_refusal", "plugin_refusal"]

_ALLOW = "RUNINFERENCE_PLUGINS_ALLOW"
_DENY = "RUNINFERENCE_PLUGINS_DENY"
_FORBID_MODEL_CODE = "RUNINFERENCE_FORBID_MODEL_CODE"
VARIABLES = (_ALLOW, _DENY, _FORBID_MODEL_CODE)
"""The variables, which a pipeline may not set for its workers."""

# Kept, since handlers may set variables of the process that they run in.
_AT_START = os.environ.get(_FORBID_MODEL_CODE, "")


def plugin_refusal(distribution: str) -> str | None:
    """Why the plugins of a distribution may not be used, and what to do; None where they may."""
    name = canonicalize_name(distribution)
    if name in _distributions(_DENY):
        return (
            f"the environment variable {_DENY} names {name}: use another plugin, or take {name} "
            "off the variable if you trust it"
        )
    allowed = _distributions(_ALLOW)
    if allowed and name not in allowed:
        return (
            f"the environment variable {_ALLOW} allows {', '.join(sorted(allowed))} alone: add "
            f"{name} to it if you trust that distribution"
        )
    return None


def model_code_refusal(option: str) -> str | None:
    """Why an option that lets a model file run code is refused; None where it is not.

    For handlers, which ask when they are made and again when they load, where another
    environment may forbid it.

    Args:
        option: as the user wrote it, such as ``allow_unsafe_pickle=True``.
    """
    now = os.environ.get(_FORBID_MODEL_CODE, "")
    if now in ("", "0") and _AT_START in ("", "0"):
        return None
    return (
        f"{option} is refused: the environment variable {_FORBID_MODEL_CODE} forbids what lets a "
        "model file run code. Use a format without code, or unset the variable if you may"
    )


def _distributions(variable: str) -> set[str]:
    parts = os.environ.get(variable, "").split(",")
    return {canonicalize_name(part.strip()) for part in parts if part.strip()}
