"""Load a scikit-learn model from a file of any of the three formats, without running its code."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from runinference.errors import ConfigurationError, ModelLoadError
from runinference.files import ModelFile, load_error

__all__ = ["ModelFileType", "file_type", "load"]


class ModelFileType(enum.StrEnum):
    """What wrote a model file. Files of pickle and joblib are read alike, compressed or not."""

    PICKLE = "pickle"
    JOBLIB = "joblib"
    SKOPS = "skops"


_EXPECTED = {
    ModelFileType.PICKLE: "a pickle",
    ModelFileType.JOBLIB: "a joblib file",
    ModelFileType.SKOPS: "a skops file",
    None: "a skops, joblib or pickle file",
}
_ZIP_MAGIC = b"PK\x03\x04"
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


def load(
    file: ModelFile,
    kind: ModelFileType | None,
    trusted_types: Sequence[str],
    allow_unsafe_pickle: bool,
) -> Any:
    """The model in a file.

    Args:
        file: its content.
        kind: the format; told by the content where None.
        trusted_types: names that the file may use besides those known to be harmless.
        allow_unsafe_pickle: whether a pickle may name anything, and so run any code.

    Raises:
        ModelLoadError: damaged, of another format, or with something in it that is not trusted.
    """
    is_zip = file.data.startswith(_ZIP_MAGIC)
    if is_zip != (kind is ModelFileType.SKOPS) and kind is not None:
        remedy = "Leave out model_file_type, or say what it is." if is_zip else _SAVE_AGAIN
        raise load_error(file, _EXPECTED[kind], remedy)
    try:
        if is_zip:
            return _load_skops(file, trusted_types)
        if not _looks_pickled(file.data) and kind is None:
            raise load_error(file, _EXPECTED[None], _SAVE_AGAIN)
        if allow_unsafe_pickle:
            return _load_anything(file)
        return _load_pickle(file, trusted_types)
    except ModelLoadError:
        raise
    except Exception as error:  # damaged files raise nearly every type
        raise load_error(file, _EXPECTED[kind], _remedy(error)) from error


def _load_skops(file: ModelFile, trusted_types: Sequence[str]) -> Any:
    from skops import io as skops_io  # slow to import, and not needed for the other formats

    untrusted = skops_io.get_untrusted_types(data=file.data)
    blocked = [name for name in untrusted if name not in trusted_types]
    if blocked:
        raise ModelLoadError(
            f"model file {file.path!r} (a skops file) holds types that are not trusted: "
            f"{', '.join(blocked)}. Look through them, and where you trust them and the file's "
            f"source say trusted_types={untrusted!r}"
        )
    return skops_io.loads(file.data, trusted=list(trusted_types))


def _load_pickle(file: ModelFile, trusted_types: Sequence[str]) -> Any:
    from runinference_sklearn.safe_pickle import BlockedNameError, loads

    try:
        return loads(file.data, trusted_types)
    except BlockedNameError as error:
        raise ModelLoadError(
            f"model file {file.path!r} (a pickle) names {error.name}, which is not on the list of "
            "what scikit-learn's models need. If you trust it, say "
            f"trusted_types=[{error.name!r}]; better, save the model with skops.io.dump, a format "
            "that runs no code; allow_unsafe_pickle=True loads the file whatever it runs"
        ) from error


def _load_anything(file: ModelFile) -> Any:
    import joblib

    return joblib.load(file.open())  # reads what pickle wrote too


def _looks_pickled(data: bytes) -> bool:
    from runinference_sklearn.safe_pickle import decompress

    try:
        return decompress(data)[:1] == b"\x80"  # since protocol 2
    except Exception:  # noqa: BLE001  # a damaged archive is for the loader to report
        return True


def _remedy(error: Exception) -> str:
    import sklearn

    return (
        f"Reading it ended with {type(error).__name__}: {str(error) or 'no message'}. "
        f"{_SAVE_AGAIN} It may also come from another version of scikit-learn (installed: "
        f"{sklearn.__version__}), or need a package that is not installed here."
    )
