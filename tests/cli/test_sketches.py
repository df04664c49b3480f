"""Statistics in bounded memory: beside those of all values."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runinference import PredictionResult
from runinference_cli.run_report.predictions import Predictions
from runinference_cli.run_report.sketches import LogHistogram, Sample, TimeBins

positive = st.floats(1e-6, 1e9)


@given(st.lists(positive, min_size=1, max_size=200), st.floats(0.01, 1))
def test_quantiles_are_within_what_is_told(values, share):
    sketch = LogHistogram()
    for value in values:
        sketch.add(value)
    true = np.quantile(values, share, method="inverted_cdf")
    assert sketch.quantile(share) == pytest.approx(true, rel=0.0221)
    assert (sketch.least, sketch.greatest) == (min(values), max(values))
    assert sketch.mean == pytest.approx(np.mean(values))


@given(st.lists(positive, min_size=1, max_size=50))
def test_bars_stand_side_by_side_and_hold_all(values):
    sketch = LogHistogram()
    for value in values:
        sketch.add(value)
    bars = sketch.bars(most=10)
    assert len(bars) <= 12
    assert sum(count for _, _, count in bars) == len(values)
    assert bars[0][0] <= min(values) * 1.0001
    assert bars[-1][1] >= max(values) * 0.9999
    assert [high for _, high, _ in bars[:-1]] == pytest.approx([low for low, _, _ in bars[1:]])


def test_a_histogram_of_a_million_numbers_is_small():
    sketch = LogHistogram()
    for value in np.random.default_rng(0).lognormal(0, 2, 20_000).tolist():
        sketch.add(value)
    assert len(sketch._bins) < 600


spans = st.tuples(st.floats(0, 500), st.floats(0, 100), st.floats(0, 1000))


@given(st.lists(spans, max_size=50))
def test_bins_of_time_keep_the_sum_and_their_number(added):
    bins = TimeBins(most=16, width=0.1)
    for start, seconds, amount in added:
        bins.add(start, start + seconds, amount)
    assert len(bins.amounts) <= 16
    assert sum(bins.amounts) == pytest.approx(sum(amount for _, _, amount in added))


def test_an_amount_is_spread_over_its_time():
    bins = TimeBins(most=16, width=1.0)
    bins.add(0.5, 3.0, 100)
    assert bins.amounts == pytest.approx([20, 40, 40, 0])
    bins.add(3.0, 3.1, 5)
    assert bins.rates() == pytest.approx([20, 40, 40])  # a tenth of a second tells no rate
    bins.add(3.1, 3.8, 15)
    assert bins.rates() == pytest.approx([20, 40, 40, 25])


def test_of_what_is_held_the_most_counts():
    bins = TimeBins(most=2, width=1.0, together=max)
    for second, held in enumerate([3, 9, 4]):
        bins.add(second, second, held)
    assert (bins.amounts, bins.width) == ([9, 4], 2.0)


def test_a_sample_is_bounded_and_as_likely_to_hold_late_rows():
    sample = Sample(1000, np.random.default_rng(1))
    kept = np.array([], int)
    for call in range(400):
        stays = sample.admit(500)
        if stays < 1:
            kept = kept[sample.random.random(len(kept)) < stays]
        kept = np.append(kept, np.full(len(sample.draw(500)), call))
        assert len(kept) < 1300
    assert len(kept) > 350
    assert (kept < 200).mean() == pytest.approx(0.5, abs=0.12)


def only(predictions):
    [found] = predictions.distributions()
    return found


def test_labels_of_tables_are_counted_exactly_however_many():
    predictions = Predictions(rows=100)
    for _ in range(30):
        predictions.add(pa.table({"prediction": pa.array([7] * 900 + [-1] * 100, pa.int8())}))
    found = only(predictions)
    assert found.counts == [("-1", 3000), ("7", 27_000)]
    assert found.is_whole


def test_true_and_false():
    predictions = Predictions()
    predictions.add(pa.table({"prediction": pa.array([True, None, False, True])}))
    assert dict(only(predictions).counts) == {"True": 2, "False": 1}


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.float32()])
def test_many_numbers_are_a_histogram(kind):
    predictions = Predictions()
    values = np.arange(0, 3000, 3)
    predictions.add(pa.table({"prediction": pa.array(values, kind)}))
    found = only(predictions)
    assert sum(height for _, _, height in found.bars) == len(values)
    assert (found.bars[0][0], found.bars[-1][1]) == (0, 2997)


def test_labels_that_turn_out_to_be_numbers_keep_their_part_of_the_sample():
    predictions = Predictions(rows=4000)
    for values in (np.zeros(200_000, int), np.arange(0, 10_000_000, 50)):
        predictions.add(pa.table({"prediction": values}))
    found = only(predictions)
    assert not found.is_whole
    total = sum(height for _, _, height in found.bars)
    assert found.bars[0][2] / total == pytest.approx(0.5, abs=0.1)


def test_texts_are_counted_in_a_sample_that_says_so():
    predictions = Predictions(rows=500)
    for _ in range(4):
        predictions.add(pa.table({"prediction": ["spam", "ham", "ham", "ham"] * 30_000}))
    found = only(predictions)
    assert [label for label, _ in found.counts] == ["ham", "spam"]
    counts = dict(found.counts)
    assert counts["ham"] / sum(counts.values()) == pytest.approx(0.75, abs=0.1)
    assert not found.is_whole
    assert "a random sample of" in found.notes[0]


def test_texts_that_hardly_repeat_are_told_by_their_lengths():
    predictions = Predictions()
    predictions.add([f"answer {'x' * number}" for number in range(200)])
    found = only(predictions)
    assert "lengths of the texts" in found.notes[0]
    assert found.bars[0][0] == len("answer ")


def test_structures_are_taken_apart():
    predictions = Predictions()
    predictions.add(
        [PredictionResult(None, {"label": "a", "scores": np.array([0.5, n])}) for n in range(10)]
    )
    label, scores = predictions.distributions()
    assert (label.name, label.counts) == ("label", [("a", 10)])
    assert scores.name == "scores"
    assert any("vector" in note for note in scores.notes)
    predictions = Predictions()
    predictions.add([("x", 1.5), ("y", 2.5)])
    assert [found.name for found in predictions.distributions()] == ["[0]", "[1]"]


@pytest.mark.parametrize(
    "values",
    [
        [],
        [None, None],
        [[], []],
        [float("nan")],
        [object()],
        [np.float32(1), 2, True],
        [(), ()],
        [{"a": 1}, {"b": 2}, {}],
        [{"a": {"b": [1, "x"]}}],
        [b"\xff"],
        [np.array("text")],
    ],
)
def test_predictions_of_any_kind_harm_nothing(values):
    predictions = Predictions()
    predictions.add(values)
    predictions.distributions()


@pytest.mark.parametrize(
    "values",
    [
        pa.array([], pa.int64()),
        pa.array([None, None], pa.int32()),
        pa.nulls(3),
        pa.array([[1.0], [], None]),
        pa.array([{"a": 1}, None]),
        pa.array(["a", None]).dictionary_encode(),
        pa.array([1], pa.timestamp("s")),
    ],
)
def test_columns_of_any_kind_harm_nothing(values):
    predictions = Predictions()
    predictions.add(pa.table({"prediction": values}))
    predictions.add(pa.table({"prediction": values}))
    predictions.distributions()


def test_outputs_beyond_a_few_are_only_counted():
    predictions = Predictions()
    predictions.add([{str(number): number for number in range(20)}])
    assert len(predictions.distributions()) == 8
    assert predictions.left_out == 12
