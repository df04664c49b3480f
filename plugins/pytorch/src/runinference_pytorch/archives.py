"""Look through the zip archives that torch writes before torch reads them."""

from __future__ import annotations

import inspect
import io
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch

from runinference.files import ModelFile, check_unpacked, load_error
from runinference_pytorch.weights import listed

__all__ = ["check_archive", "check_load_args", "is_archive", "program_kind"]


def is_archive(data: bytes) -> bool:
    """Whether it begins as a zip archive does."""
    return data[:2] == b"PK"


def check_archive(file: ModelFile, expected: str, remedy: str) -> None:
    """Compare an archive's content with its checksums, which torch does not.

    One bit that is different is other weights, or a crash of the interpreter.

    Raises:
        ModelLoadError: damaged, or larger than memory.
    """
    try:
        with zipfile.ZipFile(file.open()) as archive:
            members = archive.infolist()
            check_unpacked(sum(member.file_size for member in members))
            # torch.serialization.set_crc32_options(False) leaves them all at 0
            has_checksums = any(member.CRC for member in members)
            damaged = archive.testzip() if has_checksums else None
    except Exception as error:
        raise load_error(file, expected, f"It is damaged ({error}). {remedy}") from error
    if damaged is not None:
        problem = f"its part {damaged!r} does not have the checksum that it was saved with"
        raise load_error(file, expected, f"It is damaged ({problem}). {remedy}")


def program_kind(data: bytes) -> Literal["TorchScript", "torch.export"] | None:
    """Which program an archive holds; None where it is none, or no archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = archive.namelist()
    except Exception:  # noqa: BLE001 - a damaged directory of names can raise anything
        return None
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        return "torch.export"
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return "TorchScript"
    return None


def check_load_args(
    file: ModelFile, load: Callable[..., Any], load_args: Mapping[str, Any]
) -> None:
    """Whether a function of torch takes the further arguments of a user.

    Raises:
        ModelLoadError: it does not take one of them.
    """
    named = {
        name
        for name, parameter in inspect.signature(load).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    } - {"f", "map_location", "weights_only", "pickle_module", "mmap"}
    unknown = [name for name in load_args if name not in named]
    if unknown:
        function = f"{load.__module__}.{load.__name__}"
        raise load_error(
            file,
            f"a file that is loaded with {unknown[0]!r}",
            f"load_model_args has {unknown[0]!r}, which {function} of torch {torch.__version__} "
            f"does not take here; it takes {listed(sorted(named)) or 'none'}.",
        )
