"""Read model files once, name them by their digest, and say what a damaged one looks like.

For plugins too: a handler's ``load_model`` reads its file here, so that the bytes that were hashed
are the bytes that are loaded, and every scheme that Beam's ``FileSystems`` knows (``gs://``, ``s3://``,
``hdfs://``) works where Beam's extras are installed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import re
from pathlib import Path

from runinference.errors import ConfigurationError, ModelLoadError
from runinference.memory import available_bytes

__all__ = ["ModelFile", "check_unpacked", "load_error", "parse_sha256", "read_model", "sniff"]

_DIGEST_CHARACTERS = 12


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A model file's content.

    Attributes:
        path: as it was given.
        data: the whole content.
        sha256: the digest of ``data``, 64 hexadecimal digits.
    """

    path: str
    data: bytes = dataclasses.field(repr=False)
    sha256: str

    @property
    def model_id(self) -> str:
        """The path, ``@`` and the first 12 hexadecimal digits of the digest."""
        return f"{self.path}@{self.sha256[:_DIGEST_CHARACTERS]}"

    def open(self) -> io.BytesIO:
        """The content as a readable, seekable file."""
        return io.BytesIO(self.data)


def parse_sha256(value: str | None) -> str | None:
    """A digest that a user wrote down, in small letters; None stays None.

    Raises:
        ConfigurationError: not 64 hexadecimal digits.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{64}", value):
        raise ConfigurationError(
            f"model_sha256={value!r}: the 64 hexadecimal digits are needed that "
            "`sha256sum FILE` prints"
        )
    return value.lower()


def read_model(path: str, sha256: str | None = None) -> ModelFile:
    """Read a model file, local or remote.

    Args:
        path: of the file.
        sha256: the digest that the file has to have; any where None.

    Raises:
        ModelLoadError: absent, a folder, unreadable, empty, or of another digest.
        ConfigurationError: the digest is none.
    """
    pinned = parse_sha256(sha256)
    path = str(path)
    try:
        local = path.removeprefix("file://")
        data = _read_remote(path) if "://" in local else Path(local).read_bytes()
    except FileNotFoundError as error:
        raise ModelLoadError(
            f"model file {path!r} does not exist: check the path (a relative one is taken from the "
            "worker's current folder)"
        ) from error
    except IsADirectoryError as error:
        raise ModelLoadError(f"model file {path!r} is a folder: name the file in it") from error
    except OSError as error:
        raise ModelLoadError(f"model file {path!r} cannot be read: {error}") from error
    if not data:
        raise ModelLoadError(f"model file {path!r} is empty: save or copy the model again")
    file = ModelFile(path, data, hashlib.sha256(data).hexdigest())
    if pinned is not None and file.sha256 != pinned:
        raise load_error(
            file,
            f"the content with sha256 {pinned}",
            "The file was changed or damaged: restore it, or if it was replaced on purpose give "
            "the digest of the new one.",
            found=f"{sniff(data)} with sha256 {file.sha256}",
        )
    return file


def load_error(
    file: ModelFile, expected: str, remedy: str, *, found: str | None = None
) -> ModelLoadError:
    """The error for a file that was read but is not what it should be.

    Args:
        file: the file.
        expected: what was expected, such as ``a skops file``.
        remedy: what to do.
        found: what was found, where the caller knows more than the content looks like.
    """
    found = sniff(file.data) if found is None else found
    return ModelLoadError(
        f"model file {file.path!r} (sha256 {file.sha256[:_DIGEST_CHARACTERS]}, {len(file.data)} "
        f"bytes) cannot be loaded: expected {expected}, found {found}. {remedy}"
    )


def check_unpacked(size: int) -> None:
    """Refuse compressed content that memory has no room for, before the machine begins to swap.

    Args:
        size: bytes, as far as they are known: what a header says, or what was unpacked so far.

    Raises:
        MemoryError: it is more than what is free.
    """
    available = available_bytes()
    if available is not None and size > available:
        raise MemoryError(
            f"unpacked it is {size / 1e9:,.1f} GB or more, and {available / 1e9:,.1f} GB of memory "
            "are free"
        )


def sniff(data: bytes) -> str:
    """What a file's content looks like, in words for an error message."""
    if not data:
        return "an empty file"
    head = data[:512].lstrip().lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return "an HTML page (a download that went to a login or an error page?)"
    if head.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer (run `git lfs pull` to fetch the file itself)"
    if data.startswith(b"PK\x03\x04"):
        return _sniff_zip(data)
    if data.startswith(b"PK"):
        return "a damaged zip archive"
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        end = "" if data.rstrip(b"\n").endswith(b".") else ", truncated"
        return f"a pickle (protocol {data[1]}){end}"
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    if _is_safetensors(data):
        return "a safetensors file"
    if head.startswith((b"{", b"[")):
        return "JSON text"
    if all(32 <= byte < 127 or byte in b"\r\n\t" for byte in data[:512]):
        return f"text that begins with {data[:40].decode('ascii')!r}"
    return f"unknown content that begins with {data[:8].hex(' ')}"


_MAGIC = (
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"\xfd7zXZ", "xz-compressed data"),
    (b"\x78\x5e", "zlib-compressed data"),
    (b"\x78\x9c", "zlib-compressed data"),
    (b"\x78\x01", "zlib-compressed data"),
    (b"\x78\xda", "zlib-compressed data"),
    (b"\x04\x22\x4d\x18", "LZ4-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PAR1", "a Parquet file"),
)


def _sniff_zip(data: bytes) -> str:
    import zipfile  # only for a message

    try:
        names = zipfile.ZipFile(io.BytesIO(data)).namelist()
    except Exception:  # noqa: BLE001 - a damaged directory of names can raise anything
        return "a truncated or damaged zip archive"
    if "schema.json" in names:
        return "a skops file"
    if any("/code/" in f"/{name}" and name.endswith(".py") for name in names):
        return "a TorchScript archive"
    if any(name.endswith("data.pkl") for name in names):
        return "a torch checkpoint"
    if any(name.endswith("archive_format") for name in names):
        return "a pt2 archive (torch.export)"
    return f"a zip archive with {len(names)} entries"


def _is_safetensors(data: bytes) -> bool:
    header = int.from_bytes(data[:8], "little")
    return len(data) > 9 and 2 <= header <= len(data) - 8 and data[8:9] == b"{"


def _read_remote(path: str) -> bytes:
    # Beam costs a second to import; local files do without
    from apache_beam.io.filesystem import CompressionTypes
    from apache_beam.io.filesystems import FileSystems

    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as file:
            data: bytes = file.read()
            return data
    except ValueError as error:  # no file system for this scheme
        raise OSError(error) from error
