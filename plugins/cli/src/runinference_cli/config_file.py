"""The configuration file of a run: options as YAML, with keys that are checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import get_loader

from runinference.hints import did_you_mean
from runinference_cli.failures import UsageError

__all__ = ["check_keys", "read_config"]


# meant for one run, or known before the file is read
_NOT_IN_FILE = ("config", "traceback")


def read_config(path: str) -> dict[str, Any]:
    """The options in a file, with ``_`` for ``-`` in their names.

    Raises:
        UsageError: no such file, or not a YAML mapping.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--config {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--config {path}: not a text file") from error
    try:
        loaded = get_loader("yaml")(text)
    except Exception as error:  # whatever the YAML library raises
        raise UsageError(f"--config {path}: not YAML: {' '.join(str(error).split())}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise UsageError(
            f"--config {path}: expected options such as 'input: digits/*.parquet', "
            f"found {loaded!r:.60}"
        )
    return {str(key).replace("-", "_"): value for key, value in loaded.items()}


def check_keys(
    config: Mapping[str, Any], known: Sequence[str], groups: Sequence[str], handler: str, path: str
) -> None:
    """Refuse a key that is no option.

    Args:
        config: what the file says.
        known: every option's key, those of a group as ``group.option``.
        groups: the keys that hold options of their own.
        handler: names the handler in an error.
        path: of the file.

    Raises:
        UsageError: names the key, the nearest option and all there are.
    """
    top = [key for key in known if "." not in key and key not in _NOT_IN_FILE]
    for key, value in config.items():
        if key not in groups:
            _check(key, [*top, *groups], f"{path}: no option", "there are")
            continue
        if not isinstance(value, Mapping):
            raise UsageError(f"{path}: {key} needs options below it, not {value!r:.60}")
        options = [k.removeprefix(f"{key}.") for k in known if k.startswith(f"{key}.")]
        owner = f"{handler} has no option" if key == "handler" else f"{path}: {key} has no option"
        for option in value:
            _check(str(option), options, owner, "it takes")


def _check(key: str, known: list[str], owner: str, listing: str) -> None:
    names = sorted({name.partition(".")[0] for name in known})
    if key not in names:
        hint = did_you_mean(key, names)
        raise UsageError(f"{owner} {key!r}; {hint}{listing} {', '.join(names) or 'none'}")
