"""Two stages of parsing, and what comes out of them."""

import dataclasses

import pytest

from runinference import BatchConfig, Execution, RunTableInference, create_handler
from runinference.config import ROW_ONLY
from runinference.errors import ConfigurationError
from runinference_cli.options import parse_score


@pytest.fixture
def parse(plugin, folder, monkeypatch):
    monkeypatch.syspath_prepend(str(plugin))

    def parse(*arguments):
        given = ("--handler.model_uri", "m", "--input", "in", "--output", "out")
        return parse_score(["--handler", "linear", *given, *arguments])

    return parse


def test_what_is_not_told_is_left_to_who_decides(parse):
    options = parse()
    assert options.handler == "linear"
    assert options.handler_options == {"model_uri": "m"}
    assert (options.features, options.keep, options.inference_args) == (None, None, None)
    assert options.batching == BatchConfig()
    assert options.execution == Execution()
    assert (options.output_format, options.output_column) == ("parquet", "prediction")
    assert options.beam == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--handler=linear"],
        ["--handler.name", "linear"],
        ["--handler.name=linear"],
        ["--handler", "broken", "--handler", "linear"],
    ],
)
def test_ways_to_name_the_handler(plugin, monkeypatch, arguments):
    monkeypatch.syspath_prepend(str(plugin))
    options = parse_score([*arguments, "--handler.model_uri=m", "--input=i", "--output=o"])
    assert (options.handler, options.handler_options) == ("linear", {"model_uri": "m"})


def test_names_are_split_at_commas_and_repeated(parse):
    assert parse("--features", "a,b", "c", "--features=d").features == ["a", "b", "c", "d"]
    assert parse("--keep", "a, b,").keep == ["a", "b"]
    assert parse("--keep", "").keep == []
    assert parse("--input", "x", "y").inputs == ["in", "x", "y"]


def test_values_are_of_the_types_that_the_signatures_tell(parse, monkeypatch):
    options = parse(
        *("--handler.scale", "2", "--batching.max_size=7", "--execution.env_vars.OMP", "1"),
        *(
            "--execution.warmup_examples",
            "[[1, 2]]",
            "--execution.validate_fn",
            "acme_handlers.check",
        ),
        *("--inference-args", "{n: 3, s: text}", "--column-types.a", "float64"),
    )
    assert options.handler_options == {"model_uri": "m", "scale": 2.0}
    assert options.batching == BatchConfig(max_size=7)
    assert options.execution.env_vars == {"OMP": "1"}
    assert options.execution.warmup_examples == [[1, 2]]
    assert options.execution.validate_fn.__name__ == "check"
    assert options.inference_args == {"n": 3, "s": "text"}
    assert options.column_types == {"a": "float64"}


def test_a_value_is_data_also_where_it_looks_like_a_class(parse):
    spec = {"class_path": "pathlib.Path", "init_args": {}}
    options = parse("--inference-args", "{x: {class_path: pathlib.Path, init_args: {}}}")
    assert options.inference_args == {"x": spec}


def test_what_follows_the_dashes_is_beams(parse):
    assert parse("--", "--handler", "x", "--runner=F").beam == ["--handler", "x", "--runner=F"]


def test_a_handlers_name_alone_in_a_configuration_file(plugin, folder, monkeypatch):
    monkeypatch.syspath_prepend(str(plugin))
    (folder / "job.yaml").write_text("handler: linear\ninput: in\noutput: out\n")
    given = ["--config=job.yaml", "--handler.model_uri", "m", "--features", "a"]
    options = parse_score(given)
    assert (options.handler, options.inputs, options.features) == ("linear", ["in"], ["a"])


def test_batching_options_are_those_that_have_an_effect_on_tables(plugin, monkeypatch):
    monkeypatch.syspath_prepend(str(plugin))
    handler = create_handler("linear", model_uri="m")
    values = {"weight_fn": len, "length_fn": len, "length_boundaries": (1,)}
    needs = {
        "max_weight": {"weight_fn": len},
        "weight_fn": {"max_weight": 1},
        "length_boundaries": {"length_fn": len},
    }
    fields = [field.name for field in dataclasses.fields(BatchConfig)]
    assert set(fields) > ROW_ONLY
    for name in fields:
        config = BatchConfig(**{name: values.get(name, 1)}, **needs.get(name, {}))
        if name in ROW_ONLY:
            with pytest.raises(ConfigurationError, match="has no effect on tables"):
                RunTableInference(handler, batching=config)
        else:
            RunTableInference(handler, batching=config)
