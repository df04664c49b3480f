"""Batches are cut into calls and put together again; no example is lost or doubled."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runinference import BatchConfig
from runinference.batch import RowBatch, TableBatch
from runinference.errors import ConfigurationError
from runinference.solve import Limits

sizes = st.none() | st.integers(1, 7)


@given(
    lengths=st.lists(st.integers(0, 20), min_size=1, max_size=40),
    max_size=sizes,
    max_tokens=st.none() | st.integers(1, 60),
    max_weight=st.none() | st.integers(1, 30),
    boundaries=st.none() | st.just([3, 9]),
)
def test_every_position_is_in_one_call(lengths, max_size, max_tokens, max_weight, boundaries):
    config = BatchConfig(
        max_size=max_size,
        max_tokens=max_tokens,
        max_weight=max_weight,
        weight_fn=None if max_weight is None else len,
        length_fn=len if boundaries or max_tokens else None,
        length_boundaries=boundaries,
    )
    examples = ["x" * length for length in lengths]
    batch = RowBatch(examples)
    pieces = [list(positions) for positions in Limits(config).cut(batch)]
    assert sorted(itertools.chain(*pieces)) == list(range(len(examples)))
    for piece in pieces:
        taken = [lengths[position] for position in piece]
        assert max_size is None or len(piece) <= max_size
        assert len(piece) == 1 or max_tokens is None or max(taken) * len(taken) <= max_tokens
        assert len(piece) == 1 or max_weight is None or sum(taken) <= max_weight
        assert not boundaries or len({np.searchsorted(boundaries, n, "right") for n in taken}) == 1
    parts = [(piece, batch.take(piece).examples) for piece in pieces]
    assert batch.merge(parts) == examples


@given(lengths=st.lists(st.integers(0, 600) | st.integers(4000, 9000), min_size=1))
def test_where_lengths_are_known_little_is_padding(lengths):
    batch = RowBatch(lengths, lengths=lengths)
    pieces = [list(positions) for positions in Limits(BatchConfig()).cut(batch)]
    assert sorted(itertools.chain(*pieces)) == list(range(len(lengths)))
    for piece in pieces:
        real, padded = sum(lengths[i] for i in piece), max(lengths[i] for i in piece) * len(piece)
        assert len(piece) == 1 or padded <= 4096
        assert padded - real <= max(256, real * 0.1)


def test_lengths_of_text_make_few_calls_and_little_padding():
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(np.log(40), 0.9, 5000), 8, 512).astype(int).tolist()
    for count, most_calls, most_padding in ((100, 20, 1.25), (5000, 100, 1.05)):
        batch = RowBatch(lengths[:count], lengths=lengths[:count])
        pieces = list(Limits(BatchConfig()).cut(batch))
        padded = sum(max(lengths[i] for i in piece) * len(piece) for piece in pieces)
        assert len(pieces) <= most_calls
        assert padded <= most_padding * sum(lengths[:count])


def test_a_budget_that_is_told_is_the_only_bound():
    batch = RowBatch([1, 4000], lengths=[1, 4000])
    assert list(Limits(BatchConfig(max_tokens=9000)).cut(batch)) == [[0, 1]]
    assert list(Limits(BatchConfig()).cut(batch)) == [[0], [1]]


@given(
    count=st.integers(1, 30),
    cuts=st.lists(st.integers(1, 9)),
    shuffled=st.booleans(),
    seed=st.data(),
)
def test_tables_are_cut_and_merged(count, cuts, shuffled, seed):
    batch = TableBatch(pa.table({"a": np.arange(count), "b": [str(i) for i in range(count)]}))
    order = list(range(count))
    if shuffled:
        order = seed.draw(st.permutations(order))
    pieces, start = [], 0
    for cut in [*cuts, count]:
        pieces.append(
            order[start : start + cut] if shuffled else range(start, min(start + cut, count))
        )
        start += cut
        if start >= count:
            break
    pieces = [piece for piece in pieces if len(piece)]
    merged = batch.merge((piece, batch.take(piece).table.select(["a"])) for piece in pieces)
    assert merged.column("a").to_pylist() == list(range(count))


def test_parts_that_stand_side_by_side_are_merged_without_looking_at_each_position(monkeypatch):
    parts = [(range(2), pa.table({"a": [0, 1]})), (range(2, 3), pa.table({"a": [2]}))]
    monkeypatch.setattr("runinference.batch.np", None)
    merged = TableBatch(pa.table({"a": range(3)})).merge(parts)
    assert merged.column("a").to_pylist() == [0, 1, 2]


def test_a_slice_of_a_table_is_no_copy():
    table = pa.table({"a": np.arange(1000)})
    taken = TableBatch(table).take(range(10, 20)).table
    assert taken.column("a").chunk(0).buffers()[1].address == (
        table.column("a").chunk(0).buffers()[1].address
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_size": 0}, "at least 1"),
        ({"max_size": 2.5}, "whole number"),
        ({"min_size": True}, "whole number"),
        ({"min_size": 5, "max_size": 3}, "above the largest"),
        ({"max_weight": 5}, "work only together"),
        ({"weight_fn": len}, "work only together"),
        ({"max_wait_s": 0}, "seconds above 0"),
        ({"target_overhead": 2}, "share above 0"),
        ({"length_boundaries": [1, 2]}, "needs length_fn"),
        ({"length_fn": len, "length_boundaries": [3, 2]}, "ascending"),
        ({"length_fn": len, "length_boundaries": [0]}, "ascending"),
        ({"length_fn": len, "length_boundaries": []}, "ascending"),
    ],
)
def test_a_config_that_cannot_work_is_refused(options, message):
    with pytest.raises(ConfigurationError, match=message):
        BatchConfig(**options)


def test_beams_names_are_translated():
    config = BatchConfig.from_beam(
        {"min_batch_size": 2, "max_batch_size": 9, "max_batch_duration_secs": None}, "H"
    )
    assert config == BatchConfig(min_size=2, max_size=9)
    weighed = BatchConfig.from_beam({"element_size_fn": len, "max_batch_size": 100}, "H")
    assert (weighed.max_weight, weighed.max_size) == (100, None)
    with pytest.raises(ConfigurationError, match=r"H gives 'max_batch' to beam.BatchElements"):
        BatchConfig.from_beam({"max_batch": 2}, "H")


def test_a_config_over_another():
    own, given_ = BatchConfig(max_size=9, min_size=2), BatchConfig(max_size=3)
    assert given_.over(own) == BatchConfig(max_size=3, min_size=2)
