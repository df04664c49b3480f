"""Model files are read once, named by digest, and a damaged one is described."""

import hashlib
import io
import json
import os
import pickle
import zipfile

import pytest
from apache_beam.io.localfilesystem import LocalFileSystem

from runinference import memory
from runinference.errors import ConfigurationError, ModelLoadError
from runinference.files import check_unpacked, load_error, parse_sha256, read_model, sniff
from runinference.memory import available_bytes


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def test_a_file_is_named_by_its_digest(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"content")
    file = read_model(str(path))
    digest = hashlib.sha256(b"content").hexdigest()
    assert (file.data, file.sha256) == (b"content", digest)
    assert file.model_id == f"{path}@{digest[:12]}"
    assert file.open().read() == b"content"
    assert read_model(path).path == str(path)
    assert "content" not in repr(file)


class ElsewhereFileSystem(LocalFileSystem):
    """Another scheme of Beam's, with the files of this machine behind it."""

    @classmethod
    def scheme(cls):
        return "elsewhere"

    def open(self, path, *args, **kwargs):
        return super().open(path.removeprefix("elsewhere:/"), *args, **kwargs)


def test_a_file_is_read_through_beams_file_systems(tmp_path):
    path = tmp_path / "model.gz"
    path.write_bytes(b"\x1f\x8bcontent")
    file = read_model(f"elsewhere:/{path}")
    assert file.data == b"\x1f\x8bcontent"
    assert file.path == f"elsewhere:/{path}"
    with pytest.raises(ModelLoadError, match="does not exist"):
        read_model(f"elsewhere:/{path}.absent")


def test_a_file_address_is_a_local_path(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"content")
    assert read_model(f"file://{path}").data == b"content"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ModelLoadError, match=r"'.*/absent.bin' does not exist: check the path"):
        read_model(str(tmp_path / "absent.bin"))
    with pytest.raises(ModelLoadError, match="does not exist"):
        read_model(f"file://{tmp_path}/absent.bin")
    with pytest.raises(ModelLoadError, match="is a folder"):
        read_model(str(tmp_path))
    (tmp_path / "empty.bin").touch()
    with pytest.raises(ModelLoadError, match="is empty"):
        read_model(str(tmp_path / "empty.bin"))
    with pytest.raises(ModelLoadError, match=r"cannot be read: .*apache-beam\[gcp\]"):
        read_model("nosuchscheme://bucket/model.bin")


SAFETENSORS = (2).to_bytes(8, "little") + b"{}"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"\n<!DOCTYPE html><html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (pickle.dumps([1]), "a pickle (protocol 4)"),
        (pickle.dumps([1])[:-1], "a pickle (protocol 4), truncated"),
        (zipped("schema.json"), "a skops file"),
        (zipped("model/code/__torch__.py"), "a TorchScript archive"),
        (zipped("model/data.pkl"), "a torch checkpoint"),
        (zipped("model/archive_format"), "a pt2 archive"),
        (zipped("a", "b"), "a zip archive with 2 entries"),
        (zipped("schema.json")[:40], "a truncated or damaged zip"),
        (b"PK..", "a damaged zip"),
        (b"\x1f\x8b123", "gzip-compressed"),
        (SAFETENSORS, "a safetensors file"),
        (json.dumps({"a": 1}).encode(), "JSON text"),
        (b"hello", "text that begins with 'hello'"),
        (b"\x00\x01\xff", "unknown content that begins with 00 01 ff"),
        (b"PAR1....", "a Parquet file"),
    ],
)
def test_content_is_recognised(data, words):
    assert sniff(data).startswith(words)


def test_an_error_tells_expected_found_and_remedy(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"<html>")
    error = load_error(read_model(str(path)), "a skops file", "Save it again.")
    assert isinstance(error, ModelLoadError)
    assert "expected a skops file, found an HTML page" in str(error)
    assert str(path) in str(error)
    assert str(error).endswith("Save it again.")


def test_a_caller_may_know_better_what_was_found(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"<html>")
    error = load_error(read_model(str(path)), "a forest", "Save it again.", found="a meadow")
    assert "expected a forest, found a meadow. Save it again." in str(error)


def test_a_pinned_file_is_of_that_digest_or_refused(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"content")
    digest, other = hashlib.sha256(b"content").hexdigest(), hashlib.sha256(b"other").hexdigest()
    assert read_model(str(path), digest).sha256 == digest
    assert read_model(str(path), digest.upper()).data == b"content"
    with pytest.raises(ModelLoadError) as raised:
        read_model(str(path), other)
    for part in (str(path), f"expected the content with sha256 {other}", f"with sha256 {digest}"):
        assert part in str(raised.value)


@pytest.mark.parametrize("value", ["", "abc", "g" * 64, "0" * 63, "0" * 64 + "\n", b"0" * 64])
def test_what_is_no_digest_is_refused(value):
    with pytest.raises(ConfigurationError, match="64 hexadecimal digits"):
        parse_sha256(value)
    assert parse_sha256(None) is None


def test_content_larger_than_memory_is_refused():
    check_unpacked(1)
    with pytest.raises(MemoryError, match=r"1,000,000,000\.0 GB or more, and [\d.,]+ GB of memory"):
        check_unpacked(10**18)


def test_what_is_available_is_less_than_the_machine_has():
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    assert 0 < available_bytes() <= pages * size


def test_a_container_with_less_memory_counts(monkeypatch):
    monkeypatch.setattr(memory, "_free_of_container", lambda: 1000)
    assert available_bytes() == 1000
    monkeypatch.setattr(memory, "_free_of_machine", lambda: None)
    monkeypatch.setattr(memory, "_free_of_container", lambda: None)
    assert available_bytes() is None
