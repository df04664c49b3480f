"""Small frames joined by their blocks: what pandas.concat gives, and never anything else."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pandas.api import internals
from pandas.testing import assert_frame_equal

from runinference import frame_blocks
from runinference.frame_blocks import concatenate

ROWS = 96
EVERY_DTYPE = pd.DataFrame(
    {
        "narrow": np.arange(ROWS, dtype=np.float32),
        "whole": np.arange(ROWS),
        "missing": [np.nan if i % 5 == 0 else i / 2 for i in range(ROWS)],
        "flag": [i % 3 == 0 for i in range(ROWS)],
        "narrow too": np.arange(ROWS, dtype=np.float32) / 4,
        "text": ["a" * (i % 7) for i in range(ROWS)],
        "object": [[i] * (i % 3) for i in range(ROWS)],
        "kind": pd.Categorical([("x", "y", None)[i % 3] for i in range(ROWS)]),
        "nullable": pd.array([None if i % 4 == 0 else i for i in range(ROWS)], dtype="Int32"),
        "time": pd.date_range("2026-01-01", periods=ROWS, freq="h"),
        "zoned": pd.date_range("2026-01-01", periods=ROWS, freq="h", tz="Europe/Berlin"),
        "span": pd.to_timedelta(np.arange(ROWS), unit="s"),
        "month": pd.period_range("2020-01", periods=ROWS, freq="M"),
        "interval": pd.interval_range(0, ROWS),
        "sparse": pd.arrays.SparseArray([0] * (ROWS - 1) + [5]),
    }
)


def cut(frame, length=1):
    return [frame.iloc[start : start + length] for start in range(0, len(frame), length)]


def unpickled(frames):
    return [pickle.loads(pickle.dumps(frame)) for frame in frames]


@pytest.fixture
def no_concat(monkeypatch):
    """pandas.concat may not be asked."""

    def refuse(frames):
        pytest.fail("pandas.concat was asked")

    monkeypatch.setattr(pd, "concat", refuse)


@pytest.mark.parametrize("of", [list, unpickled])
@pytest.mark.parametrize("column", EVERY_DTYPE.columns)
def test_each_dtype(column, of, request):
    frames = of(cut(EVERY_DTYPE[[column]]))
    expected = pd.concat(frames)
    request.getfixturevalue("no_concat")
    assert_frame_equal(concatenate(frames), expected)


@pytest.mark.parametrize("of", [list, unpickled])
def test_all_dtypes_together(of, request):
    frames = of(cut(EVERY_DTYPE))
    expected = pd.concat(frames)
    request.getfixturevalue("no_concat")
    assert_frame_equal(concatenate(frames), expected)


@given(
    st.lists(st.sampled_from(sorted(EVERY_DTYPE.columns)), min_size=1, unique=True),
    st.lists(st.tuples(st.integers(0, ROWS - 4), st.integers(1, 4)), min_size=30, max_size=50),
    st.sampled_from([None, "name", ["i", "j"]]),
    st.booleans(),
)
def test_what_pandas_concat_gives(columns, places, index, is_unpickled):
    frame = EVERY_DTYPE[columns]
    if index == "name":
        frame = frame.set_index(pd.Index([f"row {i}" for i in range(ROWS)], name=index))
    elif index is not None:
        levels = [(i // 10, str(i)) for i in range(ROWS)]
        frame = frame.set_index(pd.MultiIndex.from_tuples(levels, names=index))
    frames = [frame.iloc[start : start + length] for start, length in places]
    frames = unpickled(frames) if is_unpickled else frames
    assert_frame_equal(concatenate(frames), pd.concat(frames))


def test_frames_that_share_no_memory_with_the_joined_one(no_concat):
    base = pd.DataFrame(np.arange(200.0).reshape(100, 2), columns=["a", "b"])
    joined = concatenate(cut(base))
    joined.iloc[3, 1] = -1
    assert base.iloc[3, 1] == 7


CHANGED = {
    "another dtype": lambda row: row.astype({"narrow": np.float64}),
    "blocks of their own": lambda row: row.assign(narrow=row["narrow"].to_numpy()),
    "columns that changed places": lambda row: pd.DataFrame(
        {
            "narrow": np.array([2.0], dtype=np.float32),
            "whole": np.array([3.0], dtype=np.float32),
            "narrow too": np.array([4]),
        }
    ),
    "other categories": lambda row: row.assign(kind=pd.Categorical(["z"])),
    "texts of another kind": lambda row: row.assign(text=pd.array(["z"], dtype="string")),
    "nothing but missing values": lambda row: row.assign(text=[None]),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("at", [0, 17, 95])
@pytest.mark.parametrize("change", CHANGED)
def test_a_frame_unlike_the_others(change, at):
    columns = ["narrow", "whole", "narrow too", "kind", "text"]
    columns = columns[:3] if "places" in change else columns
    frames = cut(EVERY_DTYPE[columns])
    frames[at] = CHANGED[change](frames[at])[columns]
    assert_frame_equal(concatenate(frames), pd.concat(frames))


def test_a_subclass_and_attributes_are_left_to_pandas():
    class Frame(pd.DataFrame):
        @property
        def _constructor(self):
            return Frame

    frames = cut(Frame({"a": np.arange(40.0)}))
    assert type(concatenate(frames)) is Frame
    described = pd.DataFrame({"a": np.arange(40.0)})
    described.attrs["unit"] = "m"
    assert concatenate(cut(described)).attrs == {"unit": "m"}


def turned(blocks, index, columns):
    return internals_make([(v[:, ::-1], place) for v, place in blocks], index, columns)


def narrowed(blocks, index, columns):
    return internals_make([(v.astype(np.float32), p) for v, p in blocks], index, columns)


def failing(blocks, index, columns):
    raise AttributeError("blocks are elsewhere now")


internals_make = internals.create_dataframe_from_blocks


@pytest.mark.parametrize("make", [turned, narrowed, failing])
def test_a_pandas_that_keeps_blocks_in_another_way(monkeypatch, make):
    monkeypatch.setattr(internals, "create_dataframe_from_blocks", make)
    frames = cut(pd.DataFrame(np.arange(200.0).reshape(100, 2), columns=["a", "b"]))
    assert_frame_equal(concatenate(frames), pd.concat(frames))


def test_a_pandas_that_was_not_tried(monkeypatch):
    monkeypatch.setattr(pd, "__version__", "4.0.0")
    monkeypatch.setattr(frame_blocks, "_by_blocks", lambda frames: pytest.fail("tried"))
    frames = cut(pd.DataFrame({"a": np.arange(100.0)}))
    assert_frame_equal(concatenate(frames), pd.concat(frames))
