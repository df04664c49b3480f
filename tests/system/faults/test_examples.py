"""Faults that come with examples and with what a handler answers, here and in Beam's RunInference.

Each test is a row of the table in docs/reliability.md, and shows what both do.
"""

import faulty
import pytest
from running import run_beams, run_ours

from runinference import Execution
from runinference.errors import TooManyFailuresError

NUMBERS = list(range(faulty.BATCH))
DOUBLES = [(number, number * 2) for number in NUMBERS]
WITHOUT_THREE = [pair for pair in DOUBLES if pair[0] != 3]


def check_only_three_failed(outcome, kind, message):
    assert outcome.error is None
    assert sorted(outcome.results) == WITHOUT_THREE
    [failure] = outcome.failures
    assert (failure.example, failure.type, failure.message) == (3, kind, message)


def check_failed(outcome, kind, part):
    """The run failed, since every example did; each is told about."""
    assert isinstance(outcome.error, TooManyFailuresError)
    assert "every one of the 10 examples failed" in str(outcome.error)
    assert outcome.results == []
    assert sorted(failure.example for failure in outcome.failures) == NUMBERS
    for failure in outcome.failures:
        assert failure.type == f"runinference.errors.{kind}"
        assert part in failure.message


def check_whole_batch_failed(outcome, kind):
    """As Beam sees it, the run is a success."""
    assert outcome.error is None
    assert outcome.results == []
    [(batch, error)] = outcome.failures
    assert batch == NUMBERS
    assert error[0] is kind


def test_one_bad_example():
    check_whole_batch_failed(run_beams(faulty.RefusesThree(), NUMBERS), ValueError)
    ours = run_ours(faulty.RefusesThree(), NUMBERS)
    check_only_three_failed(ours, "ValueError", "3 has no double")


def test_every_example_is_bad():
    check_whole_batch_failed(run_beams(faulty.RefusesAll(), NUMBERS), ValueError)
    ours = run_ours(faulty.RefusesAll(), NUMBERS)
    assert isinstance(ours.error, TooManyFailuresError)
    assert "every one of the 10 examples failed" in str(ours.error)
    assert sorted(failure.example for failure in ours.failures) == NUMBERS


def test_few_bad_examples_and_a_threshold():
    numbers = NUMBERS * 3  # three batches with a bad one each
    beams = run_beams(faulty.RefusesThree(), numbers, threshold=0.5)
    assert "threshold" in str(beams.error)
    ours = run_ours(faulty.RefusesThree(), numbers, threshold=0.5)
    assert ours.error is None
    assert (len(ours.results), len(ours.failures)) == (27, 3)


def test_too_few_predictions():
    beams = run_beams(faulty.LosesTheFirst(), NUMBERS)
    assert (beams.error, beams.failures) == (None, [])
    # one example is lost, and each other one has the prediction of its neighbour
    assert beams.results == [(number, (number + 1) * 2) for number in NUMBERS[:-1]]
    ours = run_ours(faulty.LosesTheFirst(), NUMBERS)
    assert ours.error is None
    assert sorted(ours.results) == DOUBLES[1:]
    [failure] = ours.failures
    assert failure.example == 0
    assert "returned 0 predictions for 1 examples" in failure.message


def test_too_many_predictions():
    beams = run_beams(faulty.OneTooMany(), NUMBERS)
    assert (beams.error, beams.failures) == (None, [])
    assert beams.results == [(0, None), *((number, (number - 1) * 2) for number in NUMBERS[1:])]
    ours = run_ours(faulty.OneTooMany(), NUMBERS)
    check_failed(ours, "PredictionCountError", "returned 2 predictions for 1 examples")


def test_a_generator_that_fails_half_way():
    check_whole_batch_failed(run_beams(faulty.StopsHalfWay(), NUMBERS), ValueError)
    ours = run_ours(faulty.StopsHalfWay(), NUMBERS)
    check_only_three_failed(ours, "ValueError", "3 has no double")


@pytest.mark.parametrize("handler", [faulty.AnswersNone(), faulty.AnswersOneNumber()])
def test_none_or_one_number_for_a_batch(handler):
    check_whole_batch_failed(run_beams(handler, NUMBERS), TypeError)
    said = "None" if isinstance(handler, faulty.AnswersNone) else "not one entry per example"
    check_failed(run_ours(handler, NUMBERS), "OutputStructureError", said)


def test_one_text_for_a_batch():
    beams = run_beams(faulty.AnswersText(), NUMBERS)
    assert (beams.error, beams.failures) == (None, [])
    assert beams.results == list(zip(NUMBERS, "positive", strict=False))  # a letter each
    ours = run_ours(faulty.AnswersText(), NUMBERS)
    check_failed(ours, "OutputStructureError", "the output is 'positive'")


def test_a_handler_that_empties_its_batch():
    beams = run_beams(faulty.EmptiesItsBatch(), NUMBERS)
    assert (beams.error, beams.results, beams.failures) == (None, [], [])
    ours = run_ours(faulty.EmptiesItsBatch(), NUMBERS)
    assert (ours.error, sorted(ours.results), ours.failures) == (None, DOUBLES, [])


def test_a_handler_that_sorts_its_batch():
    beams = run_beams(faulty.SortsItsBatch(), NUMBERS)
    assert (beams.error, beams.failures) == (None, [])
    assert beams.results == list(zip(reversed(NUMBERS), [p for _, p in DOUBLES], strict=True))
    ours = run_ours(faulty.SortsItsBatch(), NUMBERS)
    assert (ours.error, sorted(ours.results), ours.failures) == (None, DOUBLES, [])


def test_not_enough_memory_for_the_batch():
    check_whole_batch_failed(run_beams(faulty.NeedsMemory(), NUMBERS), MemoryError)
    ours = run_ours(faulty.NeedsMemory(), NUMBERS)
    assert (ours.error, sorted(ours.results), ours.failures) == (None, DOUBLES, [])
    assert ours.metrics["halved_batches_counter"] == 2


def test_a_prediction_that_is_not_a_number():
    beams = run_beams(faulty.PredictsNan(), NUMBERS)
    assert (beams.error, len(beams.results), beams.failures) == (None, 10, [])
    assert not any("nonfinite" in name for name in beams.metrics)
    ours = run_ours(faulty.PredictsNan(), NUMBERS)
    assert (ours.error, len(ours.results), ours.failures) == (None, 10, [])
    assert ours.metrics["num_nonfinite"] == 1
    refused = run_ours(faulty.PredictsNan(), NUMBERS, Execution(on_nonfinite="fail"))
    said = "PredictsNan predicted a number that is not finite"
    check_only_three_failed(refused, "runinference.errors.NonFiniteError", said)
