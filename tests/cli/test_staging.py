"""Results come into place whole, and what killed runs leave is cleaned up."""

import os
import tempfile
from pathlib import Path

import pytest

from runinference_cli.failures import UsageError, explain
from runinference_cli.staging import staging


def put(output, text, *, overwrite=False):
    with staging(str(output), overwrite=overwrite) as stage:
        (stage.written / "attempt").write_text(text)
        stage.publish(["attempt"], ".txt")


def read(output):
    return Path(output, "part-00000-of-00001.txt").read_text()


def test_results_are_nowhere_until_they_are_whole(tmp_path):
    output = tmp_path / "deep/out"
    with staging(str(output), overwrite=False) as stage:
        (stage.written / "attempt").write_text("one")
        (stage.written / "failed-attempt").write_text("half")
        assert not output.exists()
        stage.publish(["attempt"], ".txt")
    assert sorted(os.listdir(output)) == ["_SUCCESS", "part-00000-of-00001.txt"]
    assert os.listdir(tmp_path / "deep") == ["out"]
    assert output.stat().st_mode & 0o777 == 0o777 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_an_error_leaves_what_was_there(tmp_path):
    output = tmp_path / "out"
    put(output, "old")
    with pytest.raises(ZeroDivisionError), staging(str(output), overwrite=True):
        raise ZeroDivisionError
    assert read(output) == "old"
    assert os.listdir(tmp_path) == ["out"]


def test_an_error_while_replacing_puts_the_old_results_back(tmp_path, monkeypatch):
    output = tmp_path / "out"
    put(output, "old")
    rename = Path.rename

    def fail_at_the_last(self, target):
        if self.name == "results":
            raise OSError(28, "No space left on device", str(target))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_at_the_last)
    with pytest.raises(OSError, match="No space left"):
        put(output, "new", overwrite=True)
    assert read(output) == "old"


def test_an_empty_folder_and_a_link_to_a_folder_can_be_the_output(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    put(tmp_path / "link", "one")
    assert (tmp_path / "link").is_symlink()
    assert read(tmp_path / "real") == "one"


def test_what_a_killed_run_left_is_removed_and_what_it_replaced_put_back(tmp_path):
    left = tmp_path / ".out.partial-killed"
    (left / "written").mkdir(parents=True)
    (left / "written/part").write_text("half")
    (left / "results").mkdir()  # not yet put into place
    (left / "replaced").mkdir()
    (left / "replaced/part-00000-of-00001.txt").write_text("old")
    other = tmp_path / ".output.partial-killed"
    other.mkdir()
    with pytest.raises(UsageError, match="the folder is not empty"):
        put(tmp_path / "out", "new")
    assert read(tmp_path / "out") == "old"
    assert sorted(os.listdir(tmp_path)) == [".output.partial-killed", "out"]


@pytest.mark.parametrize("name", [".out.partial-killed", ".out.partial-killed.removed"])
def test_results_that_were_replaced_do_not_come_back(tmp_path, name):
    left = tmp_path / name
    (left / "replaced").mkdir(parents=True)
    (left / "replaced/part-00000-of-00001.txt").write_text("old")
    if name.endswith(".removed"):  # by a run that was killed when it removed them
        (left / "results").mkdir()
    put(tmp_path / "out", "new")
    assert read(tmp_path / "out") == "new"
    assert os.listdir(tmp_path) == ["out"]


def test_a_thread_that_goes_on_after_the_end_writes_nowhere(tmp_path):
    with staging(str(tmp_path / "out"), overwrite=False) as stage:
        pass
    with pytest.raises(FileNotFoundError):
        (stage.written / "attempt").write_text("late")
    assert os.listdir(tmp_path) == []


def test_a_run_that_goes_on_keeps_its_folder(tmp_path):
    output = tmp_path / "out"
    with staging(str(output), overwrite=True) as first:
        put(output, "second")
        assert first.written.is_dir()
        (first.written / "attempt").write_text("first")
        first.publish(["attempt"], ".txt")
    assert read(output) == "first"


def test_results_that_came_during_the_run_are_not_replaced_unasked(tmp_path):
    output = tmp_path / "out"
    with staging(str(output), overwrite=False) as first:
        put(output, "second")
        (first.written / "attempt").write_text("first")
        with pytest.raises(UsageError, match="something was put there during the run"):
            first.publish(["attempt"], ".txt")
    assert read(output) == "second"


def test_overwriting_takes_nothing_but_results(tmp_path):
    put(tmp_path, "old")
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(UsageError, match=r"holds other files \(thesis\.tex\)"):
        put(tmp_path, "new", overwrite=True)
    assert (tmp_path / "thesis.tex").read_text() == "dear"


def test_overwriting_takes_nothing_that_was_put_there_during_the_run(tmp_path):
    output = tmp_path / "out"
    put(output, "old")
    with staging(str(output), overwrite=True) as stage:
        (stage.written / "attempt").write_text("new")
        (output / "thesis.tex").write_text("dear")
        with pytest.raises(UsageError, match=r"holds other files \(thesis\.tex\)"):
            stage.publish(["attempt"], ".txt")
    assert read(output) == "old"
    assert (output / "thesis.tex").read_text() == "dear"


@pytest.fixture
def foreign_folder():
    """A folder that belongs to somebody else; root steps down, to be refused like anybody."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(65534)
        yield folder
        if is_root:
            os.seteuid(0)
        os.chmod(folder, 0o755)


def test_no_permission(foreign_folder):
    with pytest.raises(PermissionError) as caught:
        put(Path(foreign_folder, "out"), "one")
    message = explain(caught.value)
    assert message.startswith(f"no permission in '{foreign_folder}/.out.partial-")
    with pytest.raises(PermissionError) as caught:
        put(Path(foreign_folder, "deep/out"), "one")
    assert explain(caught.value).startswith(f"no permission in '{foreign_folder}/deep'")
