"""Every check passes handlers that keep the contract, and finds the one that breaks its rule."""

import contextlib
import unittest

import kit_handlers
import pyarrow as pa
import pytest
from eager_handlers import Eager

from runinference import VectorModelHandler
from runinference.errors import CheckFailedError
from runinference.testing import HandlerChecks

ROWS = [[1.0, 2.0, 3.0], [4.0, -1.0, 0.5], [0.0, 7.0, -2.0]]
COLUMNS = {"a": [1.0, 4.0, 0.0], "b": [2.0, -1.0, 7.0], "c": [3.0, 0.5, -2.0]}
TEXTS = ["one", "three words here", "two words"]
NAMES = (
    "check_loads_twice",
    "check_two_loads_predict_the_same",
    "check_load_leaves_the_handler_alone",
    "check_closed_model_loads_again",
    "check_missing_model_is_named",
    "check_update_model_path",
    "check_pickles_before_load",
    "check_pickles_after_load",
    "check_one_prediction_per_example",
    "check_predictions_are_in_order",
    "check_batch_equals_singles",
    "check_empty_batch",
    "check_exceptions_reach_the_caller",
    "check_lengths",
    "check_threads_share_a_model",
    "check_batch_is_not_changed",
    "check_outputs_own_their_memory",
    "check_results_outlast_the_next_call",
    "check_bytes_are_counted",
    "check_tables_agree_with_examples",
    "check_table_is_not_changed",
    "check_options_are_keywords",
    "check_options_are_typed",
    "check_options_are_documented",
    "check_options_are_free",
    "check_framework_is_imported_late",
    "check_requirement_on_runinference",
    "check_runs_in_a_pipeline",
    "check_runs_in_another_process",
)


def test_no_check_has_gone():
    assert HandlerChecks.names == NAMES


SLOW = {
    "check_framework_is_imported_late",
    "check_runs_in_a_pipeline",
    "check_runs_in_another_process",
}


def run(handler, **given):
    """The messages of the checks that a handler fails, and the names of those that do not apply."""
    results = HandlerChecks(**{"examples": ROWS, "table": pa.table(COLUMNS), **given}).run(handler)
    assert [result.name for result in results] == list(NAMES)
    failed = {result.name: result.message for result in results if result.outcome == "failed"}
    return failed, {result.name for result in results if result.outcome == "skipped"}


def test_a_vector_handler_that_keeps_the_contract(weights, tmp_path):
    other = tmp_path / "other.json"
    other.write_text("[3.0, 1.0, 2.0]")
    handler = kit_handlers.Linear(weights)
    failed, skipped = run(handler, other_model=str(other), inference_args={"scale": 2})
    assert failed == {}
    assert skipped == {
        "check_lengths",
        "check_requirement_on_runinference",
    }


def test_a_handler_of_two_methods(weights):
    failed, skipped = run(kit_handlers.Plain(weights), table=None)
    assert failed == {}
    assert skipped == {
        "check_closed_model_loads_again",
        "check_missing_model_is_named",
        "check_update_model_path",
        "check_lengths",
        "check_bytes_are_counted",
        "check_tables_agree_with_examples",
        "check_table_is_not_changed",
        "check_requirement_on_runinference",
    }


def test_a_handler_that_tells_lengths(weights):
    table = pa.table({"text": TEXTS})
    given = {"examples": TEXTS, "table": table, "features": ["text"]}
    failed, skipped = run(kit_handlers.Words(weights), **given)
    assert failed == {}
    assert "check_lengths" not in skipped


def test_examples_of_a_table(weights):
    class Arrays(kit_handlers.Linear):
        def examples_from(self, table, model):
            from runinference.columns import matrix

            return list(matrix(table))

    examples = HandlerChecks(table=pa.table(COLUMNS))
    for name in ("check_tables_agree_with_examples", "check_batch_is_not_changed"):
        examples.check(name, Arrays(weights))


EVERYWHERE = ("check_runs_in_a_pipeline", "check_runs_in_another_process")
NOT_ALIKE = (
    "check_closed_model_loads_again",
    "check_pickles_before_load",
    "check_tables_agree_with_examples",
    *EVERYWHERE,
)
BROKEN = [
    # the rule, who breaks it, what the message says, and which other checks notice
    ("loads_twice", "LoadsOnce", "a second time.*as often as it is", "check_pickles_after_load"),
    ("two_loads_predict_the_same", "Random", "Load the weights that were saved", NOT_ALIKE),
    ("load_leaves_the_handler_alone", "Sharing", r"what \.notes holds", ()),
    ("closed_model_loads_again", "ClosesAll", "nothing that all models share", ()),
    ("missing_model_is_named", "Secretive", "RuntimeError: no, and does not name", ()),
    ("update_model_path", "Rigid", "loads as before after update_model_path", ()),
    ("pickles_before_load", "Lazy", r"Lazy\.rest cannot be pickled", "..."),
    ("pickles_before_load", "Forgetful", "leave out nothing", ()),
    ("pickles_after_load", "Keeping", r"keeps the model in \.model", ()),
    ("pickles_after_load", "KeepingAPart", "keeps a part of the model", ()),
    ("one_prediction_per_example", "OneShort", "2 predictions for 3 examples", "..."),
    ("one_prediction_per_example", "Absent", "answered None for example 0 of 1", "..."),
    ("predictions_are_in_order", "Sorting", "the prediction of example 2 of the batch", "..."),
    ("predictions_are_in_order", "Reversing", "the prediction of example 2 of the batch", "..."),
    ("predictions_are_in_order", "Constant", "for all examples.*tells apart", ()),
    ("batch_equals_singles", "Normalising", "in a batch of 3 otherwise than alone", EVERYWHERE[:1]),
    ("empty_batch", "Remembering", "3 predictions for no examples", ()),
    ("exceptions_reach_the_caller", "Swallowing", "predicts nan for an object that is no", ()),
    ("exceptions_reach_the_caller", "Hiding", "hides what went wrong", ()),
    ("exceptions_reach_the_caller", "Exiting", "SystemExit, which ends the worker", ()),
    ("exceptions_reach_the_caller", "Spoiling", "after a call that failed", ()),
    ("lengths", "TextLength", "length.. of prepared example 0 is '1'", "..."),
    ("lengths", "PreparesTwice", "prepare.. and run_prepared.. in a row", "..."),
    ("threads_share_a_model", "NotForThreads", "disturb each other", ()),
    ("batch_is_not_changed", "Emptying", "changes the list of examples", "..."),
    ("batch_is_not_changed", "Writing", "changes example 2", "check_tables_agree_with_examples"),
    ("outputs_own_their_memory", "Views", "is a view: 16 bytes of 1,056", ()),
    ("results_outlast_the_next_call", "Reusing", "its own output arrays", "..."),
    ("results_outlast_the_next_call", "LateGenerator", "let a generator read nothing", ()),
    ("bytes_are_counted", "NoBytes", "counts 0 bytes for examples of about 72", ()),
    ("bytes_are_counted", "FractionalBytes", "answered 49.5: count whole bytes", ()),
    ("bytes_are_counted", "BatchBytes", "the sum of its examples", ()),
    ("bytes_are_counted", "PickledBytes", r"calls dumps\(\)", ()),
    ("tables_agree_with_examples", "OtherTables", "row 0 of a table otherwise", ()),
    ("tables_agree_with_examples", "OtherLeaves", r"columns \['prediction'\].*_a", ()),
    ("table_is_not_changed", "WritingTables", "changes column 'a' of a table", "..."),
    ("options_are_keywords", "Swallower", r"\*\*options, which swallows", ()),
    ("options_are_keywords", "Positional", "model_uri by position alone", ()),
    ("options_are_typed", "Untyped", "does not tell the type of model_uri", ()),
    ("options_are_documented", "Undocumented", "does not explain scale", ()),
    ("options_are_free", "Greedy", "option 'keep', which", ()),
    ("framework_is_imported_late", "Eager", "imports .*sklearn .*under 'if TYPE_CHECKING", ()),
    ("runs_in_a_pipeline", "Hungry", "has to run as it does without", ()),
    ("runs_in_another_process", "OfThisProcess", "global variables", ()),
]


@pytest.mark.parametrize(("rule", "handler", "message", "others"), BROKEN)
def test_a_broken_rule_is_found(rule, handler, message, others, weights):
    name = f"check_{rule}"
    kind = Eager if handler == "Eager" else getattr(kit_handlers, handler)
    is_text = issubclass(kind, kit_handlers.Words)
    given = {"examples": TEXTS if is_text else ROWS}
    if issubclass(kind, VectorModelHandler):
        given["table"] = pa.table({"text": TEXTS} if is_text else COLUMNS)
    checks = HandlerChecks(**given, features=["text"] if is_text else None)
    with pytest.raises(CheckFailedError, match=f"(?s){message}"):
        checks.check(name, kind(weights))
    if others == "...":
        return  # too deep a fault for one check alone
    others = {others} if isinstance(others, str) else set(others)
    found = set()
    for other in NAMES:
        if other != name and (other not in SLOW or other in others):
            with contextlib.suppress(unittest.SkipTest):
                try:
                    checks.check(other, kind(weights))
                except CheckFailedError:
                    found.add(other)
    assert found == others
