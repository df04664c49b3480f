"""Load a scikit-learn model from a file of any of the three formats, without running its code."""

from __future__ import annotations

import dataclasses
import enum
import zipfile
from typing import Any

from runinference.errors import ConfigurationError, ModelLoadError
from runinference.files import ModelFile, check_unpacked, load_error
from runinference.policy import model_code_refusal
from runinference_sklearn.structures import check_structures

__all__ = ["ModelFileType", "Trust", "file_type", "load"]


class ModelFileType(enum.StrEnum):
    """What wrote a model file. Files of pickle and joblib are read alike, compressed or not."""

    PICKLE = "pickle"
    JOBLIB = "joblib"
    SKOPS = "skops"


@dataclasses.dataclass(frozen=True)
class Trust:
    """What a user permits a model file; never what the file says of itself.

    Attributes:
        types: names that it may use besides those known to be harmless, ``package.module.Class``.
        is_blind: whether a pickle may name anything, and so run any code.
    """

    types: tuple[str, ...] = ()
    is_blind: bool = False

    def refusal(self) -> str | None:
        """Why the environment refuses this much trust; None where it does not."""
        if self.is_blind:
            return model_code_refusal("allow_unsafe_pickle=True")
        unknown = f"trusted_types={list(self.types)!r}"
        if not self.types or model_code_refusal(unknown) is None:
            return None
        from runinference_sklearn.allowed import is_allowed  # may import scikit-learn

        more = [name for name in self.types if not is_allowed(*name.rpartition(".")[::2])]
        return model_code_refusal(f"trusted_types={more!r}") if more else None


_EXPECTED = {
    ModelFileType.PICKLE: "a pickle",
    ModelFileType.JOBLIB: "a joblib file",
    ModelFileType.SKOPS: "a skops file",
    None: "a skops, joblib or pickle file",
}
_ZIP_MAGIC = b"PK\x03\x04"
_CHUNK_BYTES = 1 << 16
_SAVE_AGAIN = "Save or copy the model again, or name another file."


def file_type(value: ModelFileType | str | None) -> ModelFileType | None:
    """A file type by its name in any case; None, for what the content looks like, stays None.

    Raises:
        ConfigurationError: a name that is none.
    """
    if value is None or isinstance(value, ModelFileType):
        return value
    try:
        return ModelFileType(value.lower())
    except (AttributeError, ValueError):
        raise ConfigurationError(
            f"model_file_type={value!r}: known are "
            f"{', '.join(repr(known.value) for known in ModelFileType)}, "
            "or None to tell by the file's content"
        ) from None


def load(file: ModelFile, kind: ModelFileType | None, trust: Trust) -> Any:
    """The model in a file.

    Args:
        file: its content.
        kind: the format; told by the content where None.
        trust: what the file may name.

    Raises:
        ModelLoadError: damaged, of another format, with something in it that is not trusted, or
            with more trust than the environment permits here.
    """
    refusal = trust.refusal()
    if refusal is not None:
        raise load_error(file, "a file that needs no such trust", f"{refusal}.")
    is_zip = file.data.startswith(_ZIP_MAGIC)
    if is_zip != (kind is ModelFileType.SKOPS) and kind is not None:
        remedy = "Leave out model_file_type, or say what it is." if is_zip else _SAVE_AGAIN
        raise load_error(file, _EXPECTED[kind], remedy)
    try:
        model = _read(file, kind, trust, is_zip=is_zip)
        check_structures(model)
        return model
    except ModelLoadError:
        raise
    except Exception as error:  # damaged files raise nearly every type
        raise load_error(file, _EXPECTED[kind], _remedy(error)) from error


def _read(file: ModelFile, kind: ModelFileType | None, trust: Trust, *, is_zip: bool) -> Any:
    if is_zip:
        return _load_skops(file, trust)
    if not _looks_pickled(file.data) and kind is None:
        raise load_error(file, _EXPECTED[None], _SAVE_AGAIN)
    return _load_anything(file) if trust.is_blind else _load_pickle(file, trust)


def _load_skops(file: ModelFile, trust: Trust) -> Any:
    from skops import io as skops_io  # slow to import, and not needed for the other formats
    from skops.io.exceptions import UntrustedTypesFoundException

    with zipfile.ZipFile(file.open()) as archive:
        _check_members(archive)
    try:
        return skops_io.loads(file.data, trusted=list(trust.types))
    except UntrustedTypesFoundException as error:  # before anything is made of what the file says
        untrusted = skops_io.get_untrusted_types(data=file.data)
        blocked = [name for name in untrusted if name not in trust.types]
        raise load_error(
            file,
            "a skops file of types that are trusted",
            "Look through them, and where you trust them and the file's source say "
            f"trusted_types={untrusted!r}.",
            found=f"one that also holds {', '.join(blocked)}",
        ) from error


def _check_members(archive: zipfile.ZipFile) -> None:
    """Read what is compressed once, a little at a time: a header may say less than there is."""
    stored = [info for info in archive.infolist() if info.compress_type == zipfile.ZIP_STORED]
    unpacked = sum(info.file_size for info in stored)
    check_unpacked(unpacked)
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            with archive.open(info) as member:
                while chunk := member.read(_CHUNK_BYTES):
                    unpacked += len(chunk)
                    check_unpacked(unpacked)


def _load_pickle(file: ModelFile, trust: Trust) -> Any:
    from runinference_sklearn.safe_pickle import BlockedNameError, loads

    try:
        return loads(file.data, trust.types)
    except BlockedNameError as error:
        raise load_error(
            file,
            "a pickle of what scikit-learn's models need",
            f"If you trust it, say trusted_types=[{error.name!r}]; better, save the model with "
            "skops.io.dump, a format that runs no code; allow_unsafe_pickle=True loads the file "
            "whatever it runs.",
            found=f"one that names {error.name}",
        ) from error


def _load_anything(file: ModelFile) -> Any:
    import io

    import joblib

    from runinference_sklearn.compressed import decompress

    return joblib.load(io.BytesIO(decompress(file.data)))  # reads what pickle wrote too


def _looks_pickled(data: bytes) -> bool:
    from runinference_sklearn.compressed import first_byte

    try:
        return first_byte(data) == b"\x80"  # since protocol 2
    except Exception:  # noqa: BLE001  # a damaged archive is for the loader to report
        return True


def _remedy(error: Exception) -> str:
    import sklearn

    return (
        f"Reading it ended with {type(error).__name__}: {str(error) or 'no message'}. "
        f"{_SAVE_AGAIN} It may also come from another version of scikit-learn (installed: "
        f"{sklearn.__version__}), or need a package that is not installed here."
    )
