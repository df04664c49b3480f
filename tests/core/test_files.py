"""Model files are read once, named by digest, and a damaged one is described."""

import hashlib
import io
import json
import pickle
import zipfile

import pytest
from apache_beam.io.localfilesystem import LocalFileSystem

from runinference.errors import ModelLoadError
from runinference.files import load_error, read_model, sniff


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
