"""Files are read and written block by block, whatever their format."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from apache_beam.io.filesystem import FileMetadata, MatchResult
from apache_beam.io.localfilesystem import LocalFileSystem

from runinference_cli import readers, text_files, writers
from runinference_cli.input_file import Source
from runinference_cli.readers import read_blocks
from runinference_cli.sources import find_sources, plan


def source(path):
    [found] = find_sources([str(path)], None)
    return found


def read(path, columns=None, schema=None):
    planned = plan([source(path)], {})
    return list(read_blocks(planned.splits[0], schema or planned.schema, columns))


@pytest.fixture
def table():
    return pa.table({"a": range(1000), "b": [f"text {i}" for i in range(1000)]})


def test_parquet_blocks_are_bounded_in_rows_and_in_bytes(tmp_path, table, monkeypatch):
    path = tmp_path / "rows.parquet"
    pa.parquet.write_table(table, path, row_group_size=300)
    assert [block.num_rows for block in read(path)] == [1000]
    monkeypatch.setattr(readers, "MAX_BLOCK_ROWS", 400)
    assert [block.num_rows for block in read(path)] == [300, 300, 400]
    monkeypatch.setattr(readers, "MAX_BLOCK_BYTES", 1000)
    blocks = read(path)
    assert len(blocks) > 5
    assert pa.concat_tables(blocks).equals(table)


def test_only_the_columns_asked_for_are_read(tmp_path, table):
    pa.parquet.write_table(table, tmp_path / "rows.parquet")
    [block] = read(tmp_path / "rows.parquet", columns=["b"])
    assert block.column_names == ["b"]


def test_columns_come_in_the_order_of_the_first_file(tmp_path, table):
    pa.parquet.write_table(table, tmp_path / "1.parquet")
    pa.parquet.write_table(table.select(["b", "a"]), tmp_path / "2.parquet")
    planned = plan(find_sources([str(tmp_path)], None), {})
    assert planned.rows == 2000
    [block] = read_blocks(planned.splits[1], planned.schema)
    assert block.equals(table)


@pytest.mark.parametrize("end", ["\n", ""])
@pytest.mark.parametrize("size", [10, 100, 1_000_000])
def test_json_lines_are_cut_between_lines(tmp_path, table, monkeypatch, size, end):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, table.to_pylist())) + end)
    monkeypatch.setattr(text_files, "TEXT_BLOCK_BYTES", size)
    blocks = read(path, schema=table.schema)
    assert pa.concat_tables(blocks).to_pylist() == table.to_pylist()
    if size == 100:
        assert len(blocks) > 100


def test_csv_values_with_line_breaks_and_columns_without_values(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('a,b,c\n1,"one\ntwo",\n2,"x, y",\n')
    [block] = read(path)
    rows = [{"a": 1, "b": "one\ntwo", "c": ""}, {"a": 2, "b": "x, y", "c": ""}]
    assert block.to_pylist() == rows


def test_types_that_are_told_are_not_guessed(tmp_path):
    (tmp_path / "rows.csv").write_text("zip,b\n01234,1\n")
    planned = plan([source(tmp_path / "rows.csv")], {"zip": "string", "b": "float32"})
    assert planned.schema.types == [pa.string(), pa.float32()]
    [block] = read_blocks(planned.splits[0], planned.schema)
    assert block.to_pylist() == [{"zip": "01234", "b": 1.0}]


def write(path, file_format, *tables):
    writer = writers.PartWriter(path, file_format)
    for table in tables:
        writer.write(table)
    writer.close()
    return writer


def test_json_lines_hold_every_kind_of_column(tmp_path):
    columns = {
        "int": pa.array([1, None]),
        "float": pa.array([1.5, math.nan]),
        "small": pa.array([1e-7, math.inf], pa.float32()),
        "bool": pa.array([True, None]),
        "text": pa.array(['quote " and \\ and \n', None]),
        "coded": pa.array(["é", None]).dictionary_encode(),
        "vector": pa.array([[1.0, math.nan], None], pa.list_(pa.float64(), 2)),
        "struct": pa.array([{"x": [1]}, None]),
        "time": pa.array(np.array(["2024-01-02T03:04", None], "datetime64[s]")),
    }
    writer = write(tmp_path / "rows.jsonl", "jsonl", pa.table(columns))
    assert writer.rows == 2
    first, second = map(json.loads, (tmp_path / "rows.jsonl").read_text().splitlines())
    assert first == {
        "int": 1,
        "float": 1.5,
        "small": 1e-7,
        "bool": True,
        "text": 'quote " and \\ and \n',
        "coded": "é",
        "vector": [1.0, None],
        "struct": {"x": [1]},
        "time": "2024-01-02 03:04:00",
    }
    assert second == dict.fromkeys(columns)


@pytest.mark.parametrize("file_format", ["parquet", "csv", "jsonl"])
def test_a_later_block_is_written_with_the_types_of_the_first(tmp_path, file_format):
    path = tmp_path / "rows"
    narrow = pa.table({"prediction": pa.array([1, 2], pa.int32())})
    write(path, file_format, pa.table({"prediction": [1.5]}), narrow)
    if file_format == "parquet":
        assert pa.parquet.read_table(path)["prediction"].to_pylist() == [1.5, 1.0, 2.0]
    with pytest.raises(writers.WriteError, match="they were int32 and are string"):
        write(path, file_format, narrow, pa.table({"prediction": ["x"]}))


def test_parquet_uses_dictionaries_where_values_repeat(tmp_path):
    count = 20_000
    columns = {
        "id": range(count),
        "text": [f"text {number}" for number in range(count)],
        "class": [number % 3 for number in range(count)],
        "list": [[number % 3] for number in range(count)],
    }
    table = pa.table(columns)
    write(tmp_path / "rows.parquet", "parquet", table, table)
    assert pa.parquet.read_table(tmp_path / "rows.parquet").equals(pa.concat_tables([table] * 2))
    group = pa.parquet.ParquetFile(tmp_path / "rows.parquet").metadata.row_group(1)
    found = {group.column(n).path_in_schema: group.column(n).encodings for n in range(4)}
    with_dictionary = {path for path, kinds in found.items() if "RLE_DICTIONARY" in kinds}
    assert with_dictionary == {"class", "list.list.element"}


@pytest.mark.parametrize("file_format", ["parquet", "csv", "jsonl"])
def test_a_full_disk_is_told_with_the_files_name(tmp_path, file_format):
    path = tmp_path / "rows"
    path.symlink_to("/dev/full")
    table = pa.table({"a": np.random.default_rng(0).normal(size=1_000_000)})
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(path, file_format, table)
    assert caught.value.filename == str(path)


class Disk(LocalFileSystem):
    """A file system with a scheme, as buckets have, whose files lie on this disk."""

    @classmethod
    def scheme(cls):
        return "disk"

    def match(self, patterns, limits=None):
        [result] = super().match([pattern.removeprefix("disk://") for pattern in patterns])
        found = [FileMetadata(f"disk://{f.path}", f.size_in_bytes) for f in result.metadata_list]
        return [MatchResult(patterns[0], found)]

    def open(self, path, *arguments, **options):
        return super().open(path.removeprefix("disk://"), *arguments, **options)


def test_files_of_beams_file_systems(tmp_path, table):
    pa.parquet.write_table(table, tmp_path / "1.parquet")
    with pa.output_stream(tmp_path / "2.csv.gz", compression="gzip") as file:
        pa.csv.write_csv(table, file)
    sources = find_sources([f"disk://{tmp_path}/*"], None)
    assert [s.path for s in sources] == [
        f"disk://{tmp_path}/{n}" for n in ("1.parquet", "2.csv.gz")
    ]
    planned = plan(sources, {})
    assert (planned.rows, planned.schema) == (None, table.schema)
    for split in planned.splits:
        assert pa.concat_tables(read_blocks(split, planned.schema)).equals(table)


def test_a_local_address(tmp_path, table):
    pa.parquet.write_table(table, tmp_path / "1.parquet")
    path = str(tmp_path / "1.parquet")
    size = Path(path).stat().st_size
    assert find_sources([f"file://{path}"], None) == [Source(path, "parquet", None, size)]
