"""A large file is read in parts, by one worker or by several, and no row is lost between them."""

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from runinference_cli import splits
from runinference_cli.input_file import ReadError
from runinference_cli.pipeline import LostRowsError
from runinference_cli.readers import read_blocks
from runinference_cli.sources import find_sources, plan
from runinference_cli.splits import Split, rows_before
from runinference_cli.write_tables import Written, read_manifest

COUNT = 1000


@pytest.fixture
def table():
    texts = [f"text {number}" * (number % 7) for number in range(COUNT)]
    return pa.table({"a": range(COUNT), "text": texts})


def planned(path, **options):
    return plan(find_sources([str(path)], None), {}, **options)


def read(plan):
    blocks = [block for split in plan.splits for block in read_blocks(split, plan.schema)]
    return pa.concat_tables(blocks)


def write_json(path, rows, end="\n"):
    path.write_text("\n".join(map(json.dumps, rows)) + end)


def test_row_groups_are_shared_by_rows_and_by_bytes(tmp_path, table, monkeypatch):
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(table, path, row_group_size=150)
    assert [split.rows for split in planned(path).splits] == [COUNT]
    monkeypatch.setattr(splits, "MAX_SPLIT_ROWS", 400)
    plan = planned(path)
    assert [(s.start, s.end, s.first_row, s.rows) for s in plan.splits] == [
        (0, 2, 0, 300),
        (2, 4, 300, 300),
        (4, 7, 600, 400),
    ]
    assert plan.rows == COUNT
    assert read(plan).equals(table)
    monkeypatch.setattr(splits, "MAX_SPLIT_BYTES", 10)
    assert [split.rows for split in planned(path).splits] == [150] * 6 + [100]


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize("size", [37, 1000, 20_000])
@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_text_is_cut_between_lines(tmp_path, table, monkeypatch, kind, size, end):
    path = tmp_path / f"rows.{kind}"
    if kind == "jsonl":
        write_json(path, table.to_pylist())
    else:
        pa.csv.write_csv(table, path)
    path.write_text(path.read_text().rstrip("\n") + end)
    monkeypatch.setattr(splits, "MAX_SPLIT_BYTES", size)
    plan = planned(path, csv_rows_are_lines=True)
    assert len(plan.splits) > path.stat().st_size / size / 2
    assert read(plan).to_pylist() == table.to_pylist()
    row = 0
    for split in plan.splits:
        assert rows_before(split) == row
        row += sum(block.num_rows for block in read_blocks(split, plan.schema))


def test_text_that_cannot_be_cut_stays_whole(tmp_path, table, monkeypatch):
    monkeypatch.setattr(splits, "MAX_SPLIT_BYTES", 10)
    for name in ("1.csv", "2.csv.gz"):
        with pa.output_stream(tmp_path / name) as file:
            pa.csv.write_csv(table, file)
    assert [split.end for split in planned(tmp_path / "1.csv").splits] == [None]
    whole = planned(tmp_path / "2.csv.gz", csv_rows_are_lines=True)
    assert [split.end for split in whole.splits] == [None]
    (tmp_path / "3.jsonl").write_text('{"a": "' + "x" * 5000 + '"}')
    assert len(planned(tmp_path / "3.jsonl").splits) == 1


def test_an_error_in_a_later_part_tells_the_row_of_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "MAX_SPLIT_BYTES", 1000)
    numbers = [str(number) for number in range(COUNT)]
    lines = [f'{{"a": {number}}}' for number in numbers]
    lines[1] += "\n"  # an empty line is no row
    (tmp_path / "rows.csv").write_text("\n".join(["a", *numbers]))
    (tmp_path / "rows.jsonl").write_text("\n".join(lines))
    csv = planned(tmp_path / "rows.csv", csv_rows_are_lines=True)
    jsonl = planned(tmp_path / "rows.jsonl")
    assert min(len(csv.splits), len(jsonl.splits)) > 3
    for path in tmp_path.iterdir():
        path.write_text(path.read_text().replace("777", '"x"'))
    with pytest.raises(ReadError, match=r"rows\.csv: row 779 \(the header is row 1\), column 1"):
        read(csv)
    with pytest.raises(ReadError, match=r"rows\.jsonl: row 778 "):
        read(jsonl)


def test_a_file_that_has_become_shorter(tmp_path, table, monkeypatch):
    monkeypatch.setattr(splits, "MAX_SPLIT_BYTES", 10_000)
    path = tmp_path / "rows.jsonl"
    write_json(path, table.to_pylist())
    plan = planned(path)
    content = path.read_text()
    path.write_text(content[: content.rindex("\n", 0, -1) + 1])
    with pytest.raises(ReadError, match="missing at its end"):
        read(plan)


def test_parts_of_one_file_are_numbered_in_its_order(score, results, monkeypatch):
    monkeypatch.setattr(splits, "MAX_SPLIT_BYTES", 1000)
    count = 400
    rows = [{"a": number, "b": 1} for number in range(count)]
    write_json(Path("in/a.jsonl"), rows)
    assert score(input=["in/a.jsonl"]).status == 0
    files = sorted(path.name for path in Path("out").glob("part-*"))
    assert len(files) > 5
    assert files[-1] == f"part-{len(files) - 1:05d}-of-{len(files):05d}.parquet"
    assert results() == [{**row, "prediction": row["a"] + 10} for row in rows]


def test_a_model_that_fails_is_told_with_the_rows_of_the_file(score, monkeypatch):
    monkeypatch.setattr(splits, "MAX_SPLIT_BYTES", 10_000)
    write_json(Path("rows.jsonl"), [{"a": number, "b": 1} for number in range(COUNT)])
    model = {"handler.model_uri": "model.json"}
    outcome = score(handler="raising", input="rows.jsonl", **model)
    assert outcome.status == 1
    assert "the model failed on rows.jsonl, row 1: " in outcome.err


def test_what_no_row_is_to_blame_for_is_told_with_all_rows_of_the_call(score, monkeypatch):
    monkeypatch.setattr(splits, "MAX_SPLIT_BYTES", 10_000)
    write_json(Path("rows.jsonl"), [{"a": number, "b": "text"} for number in range(COUNT)])
    model = {"handler.model_uri": "model.json"}
    outcome = score(handler="linear", features="a,b", input="rows.jsonl", **model)
    assert outcome.status == 1
    # few rows are predicted together, also those of several parts
    first, last = r"rows\.jsonl \(rows 1 to \d+\)", r"rows\.jsonl \(rows \d+ to 1000\)"
    assert re.search(f"; in {first} (and|to) {last}", outcome.err), outcome.err


def test_a_part_that_was_not_written_or_not_whole_is_told(tmp_path):
    [source] = find_sources([str(Path(__file__))], "jsonl")
    parts = [Split(source, rows=2), Split(source, rows=None)]
    with pytest.raises(LostRowsError, match="left no results"):
        read_manifest(tmp_path, parts)
    listed = tmp_path / "list-1.json"
    first, second = Written(0, "x", 2, "a: int64", 2), Written(1, "y", 3, "a: int64", 3)
    listed.write_text(json.dumps([second]))
    with pytest.raises(LostRowsError, match="2 parts were to be written, and 1 were"):
        read_manifest(tmp_path, parts)
    (tmp_path / "list-2.json").write_text(json.dumps([first]))
    assert read_manifest(tmp_path, parts) == ([first, second], [])
    (tmp_path / "list-2.json").write_text(json.dumps([first._replace(rows=1)]))
    with pytest.raises(LostRowsError, match="1 rows of 2 were written"):
        read_manifest(tmp_path, parts)


def test_two_processes_share_one_file(score, results, plugin, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(plugin))
    monkeypatch.setattr(splits, "MAX_SPLIT_ROWS", 100)
    table = pa.table({"a": range(COUNT)})
    pa.parquet.write_table(table, "rows.parquet", row_group_size=50)
    two = ("--direct_running_mode=multi_processing", "--direct_num_workers=2")
    outcome = score(
        "--", *two, handler="process", input="rows.parquet", **{"handler.model_uri": None}
    )
    assert outcome.status == 0, outcome.err
    rows = results()
    assert [row["a"] for row in rows] == list(range(COUNT))
    parts = [rows[start : start + 100] for start in range(0, COUNT, 100)]
    processes = [{row["prediction"] for row in part} for part in parts]
    assert all(len(process) == 1 for process in processes)
    assert len(set.union(*processes)) == 2
