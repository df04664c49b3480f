"""Unpack files that joblib compressed, no further than memory allows."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from runinference.files import check_unpacked

__all__ = ["decompress", "first_byte"]

_CHUNK_BYTES = 1 << 20


def decompress(data: bytes) -> bytes:
    """The content of a file that one of joblib's compressors wrote, or ``data`` itself.

    Raises:
        MemoryError: there is more of it than memory.
        Exception: damaged; of the type that its compressor raises.
    """
    reader = _reader(data)
    if reader is None:
        return data
    content = io.BytesIO()
    for chunk in reader(data):
        content.write(chunk)
        check_unpacked(content.tell())
    return content.getvalue()


def first_byte(data: bytes) -> bytes:
    """The first byte of the content."""
    reader = _reader(data)
    return data[:1] if reader is None else next(reader(data), b"")[:1]


def _reader(data: bytes) -> Callable[[bytes], Iterator[bytes]] | None:
    return next((reader for magic, reader in _READERS if data.startswith(magic)), None)


def _read_zlib(data: bytes) -> Iterator[bytes]:
    decompressor, rest = zlib.decompressobj(), data
    while not decompressor.eof:
        chunk = decompressor.decompress(rest, _CHUNK_BYTES)
        rest = decompressor.unconsumed_tail
        if not chunk and not rest and not decompressor.eof:
            raise EOFError("the compressed data ends early")
        yield chunk


def _read_with(open_file: Callable[[io.BytesIO], Any]) -> Callable[[bytes], Iterator[bytes]]:
    def read(data: bytes) -> Iterator[bytes]:
        with open_file(io.BytesIO(data)) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk

    return read


def _open_lz4(file: io.BytesIO) -> Any:
    from lz4.frame import LZ4FrameFile  # joblib writes it only where lz4 is installed

    return LZ4FrameFile(file)


_READERS: tuple[tuple[bytes, Callable[[bytes], Iterator[bytes]]], ...] = (
    (b"\x78", _read_zlib),
    (b"\x1f\x8b", _read_with(gzip.open)),
    (b"BZ", _read_with(bz2.BZ2File)),
    (b"\xfd7zXZ", _read_with(lzma.LZMAFile)),
    (b"\x5d\x00", _read_with(lzma.LZMAFile)),
    (b"\x04\x22\x4d\x18", _read_with(_open_lz4)),
)
