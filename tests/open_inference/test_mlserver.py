"""A server that nobody here wrote, over both protocols, beside the same model in this process."""

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

from runinference import (
    BatchConfig,
    Execution,
    RunInference,
    RunTableInference,
    create_handler,
)
from runinference.errors import (
    ConfigurationError,
    ExampleError,
    FeatureError,
    ModelUnavailableError,
    RequestRefusedError,
)

both = pytest.mark.parametrize("protocol", ["open-inference-http", "open-inference-grpc"])


@pytest.fixture
def load(mlserver):
    """``load(protocol, model, **options)``: a handler with its client."""
    loaded = []

    def make(protocol, model_name, **options):
        handler = create_handler(
            protocol, url=mlserver.url(protocol), model_name=model_name, **options
        )
        client = handler.load_model()
        loaded.append((handler, client))
        return lambda examples, args=None: handler.run_inference(examples, client, args)

    yield make
    for handler, client in loaded:
        handler.close_model(client)


@both
def test_examples_have_the_local_handlers_predictions(run, mlserver, digits, protocol):
    remote = RunInference(
        protocol,
        url=mlserver.url(protocol),
        model_name="digits",
        execution=Execution(in_flight=4),
    )
    local = RunInference("sklearn-numpy", model_uri=str(digits.path), trusted_types=[])
    with run.pipeline() as pipeline:
        inputs = pipeline | beam.Create(list(digits.inputs), reshuffle=False)
        run.keep(inputs | remote, "remote")
        run.keep(inputs | local, "local")
    remotely, locally = run.elements("remote"), run.elements("local")
    assert len(remotely) == len(locally) == len(digits.inputs)
    assert sorted((r.example.tobytes(), int(r.inference)) for r in remotely) == sorted(
        (r.example.tobytes(), int(r.inference)) for r in locally
    )
    assert {r.model_id for r in remotely} == {f"{mlserver.url(protocol)}/v2/models/digits"}


@both
def test_rows_of_a_table_have_the_local_predictions(run, mlserver, digits, protocol):
    columns = {f"pixel{n}": digits.inputs[:, n] for n in range(64)}
    table = pa.table({"row": range(len(digits.inputs)), **columns})
    [scored] = run.one(
        RunTableInference(
            protocol,
            url=mlserver.url(protocol),
            model_name="digits",
            features=list(columns),
            execution=Execution(in_flight=4),
        ),
        [table],
    )
    assert scored["row"].to_pylist() == list(range(len(digits.inputs)))
    assert scored["prediction"].to_pylist() == [int(label) for label in digits.predictions]
    assert scored["prediction"].type == pa.int64()


@both
def test_the_outputs_that_are_asked_for(load, digits, protocol):
    predict = load(protocol, "digits", output_names=["predict_proba"])
    found = np.stack(predict(list(digits.inputs[:50])))
    np.testing.assert_allclose(found, digits.probabilities[:50])
    predict = load(protocol, "digits", output_names=["predict", "predict_proba"])
    rows = predict(list(digits.inputs[:3]))
    assert [row["predict"] for row in rows] == digits.predictions[:3]
    np.testing.assert_allclose(rows[2]["predict_proba"], digits.probabilities[2])


@both
def test_a_version(load, digits, protocol):
    predict = load(protocol, "digits", model_version="v1")
    assert predict(list(digits.inputs[:2])) == digits.predictions[:2]
    with pytest.raises(ModelUnavailableError, match=r"not found.*check its address, the model's"):
        load(protocol, "digits", model_version="v2")


@both
def test_a_model_that_the_server_has_not(load, protocol):
    with pytest.raises(ModelUnavailableError, match=f"{protocol}: .*nobody not found|nobody with"):
        load(protocol, "nobody")


@both
def test_what_the_model_cannot_take_is_refused_at_once(load, protocol):
    predict = load(protocol, "digits")
    with pytest.raises(RequestRefusedError, match=r"a request of 2 examples: (500|INTERNAL)"):
        predict([[1.0, 2.0], [3.0, 4.0]])


@both
def test_the_example_that_the_server_refuses_is_found(run, mlserver, digits, protocol):
    inputs = [example.tolist() for example in digits.inputs[:64]]
    inputs[37][5] = float("nan")  # JSON has no word for it, and the model takes none
    with run.pipeline() as pipeline:
        examples = pipeline | beam.Create(inputs, reshuffle=False)
        results, letters = (
            examples
            | RunInference(
                protocol,
                url=mlserver.url(protocol),
                model_name="digits",
                batching=BatchConfig(min_size=64, max_size=64),
            ).with_exception_handling()
        )
        run.keep(results)
        run.keep(letters.failed_inferences, "failures")
    assert len(run.elements()) == 63
    [failure] = run.elements("failures")
    assert np.isnan(failure.example[5])


@both
def test_values_of_every_type_come_back(load, protocol):
    predict = load(protocol, "echo")
    for dtype in ("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"):
        sent = [np.array([0, 1], dtype), np.array([1, 1], dtype)]
        found = predict(sent)
        assert [row.tolist() for row in found] == [row.tolist() for row in sent], dtype
        assert found[0].dtype == np.dtype(dtype)
    for dtype in ("float32", "float64"):
        sent = [np.array([[0.1, -2.5]], dtype), np.array([[1e-30, 7]], dtype)]
        np.testing.assert_array_equal(np.stack(predict(sent)), np.stack(sent))
    assert predict(["häuser", "", "x" * 1000]) == ["häuser", "", "x" * 1000]
    assert predict([1.5, 2.5]) == [1.5, 2.5]


@both
def test_several_inputs_and_arguments(load, protocol):
    predict = load(protocol, "echo")
    examples = [{"a": n, "b": [n / 2, 1.0]} for n in range(3)]
    rows = predict(examples, {"tag": "t7"})
    assert [(r["a"], r["b"].tolist(), r["tag"]) for r in rows] == [
        (n, [n / 2, 1.0], "t7") for n in range(3)
    ]


@both
def test_what_the_server_tells_of_inputs_is_kept_to(load, protocol):
    predict = load(protocol, "told")
    rows = predict([{"text": "a", "pair": np.array([1, 2]), "flag": True}] * 2)
    assert rows[0]["pair"].dtype == np.float32  # as the server says
    assert rows[1]["text"] == "a"
    assert rows[1]["flag"] is np.True_
    good = {"text": "a", "pair": [1.0, 2.0], "flag": True}
    for bad, words in [
        ([1.0], r"the model has 3 inputs: give dicts with 'text', 'pair', 'flag'"),
        ({"text": "a"}, r"example 1 has 'text', but the model's inputs are 'text', 'pair', 'flag'"),
        ({**good, "pair": [1.0, 2.0, 3.0]}, "example 1 has shape"),
        (
            {**good, "pair": ["x", "y"]},
            "values of float and str, which the Open Inference Protocol has no",
        ),
        ({**good, "text": 5}, "values of int and str"),
    ]:
        with pytest.raises(ExampleError, match=words):
            predict([good, bad] if isinstance(bad, dict) else [bad, bad])
    with pytest.raises(
        ExampleError, match=r"shape \(3,\), but the model's input 'pair' takes \(2,"
    ):
        predict([{**good, "pair": [1.0, 2.0, 3.0]}])
    with pytest.raises(ExampleError, match="values that the model's input 'flag' of BOOL cannot"):
        predict([{**good, "flag": 2.5}])


@both
def test_columns_are_inputs_where_there_are_several(run, mlserver, protocol):
    pairs = pa.FixedSizeListArray.from_arrays(pa.array([1.0, 2.0, 3.0, 4.0]), 2)
    table = pa.table({"flag": [True, False], "pair": pairs, "text": ["a", "b"], "other": [1, 2]})
    options = {"url": mlserver.url(protocol), "model_name": "told"}
    [scored] = run.one(RunTableInference(protocol, **options), [table])
    assert scored["prediction_text"].to_pylist() == ["a", "b"]
    assert scored["prediction_pair"].to_pylist() == [[1, 2], [3, 4]]
    assert scored["prediction_flag"].to_pylist() == [True, False]
    with pytest.raises(Exception, match=r"the table has no column 'text'"):
        run.one(RunTableInference(protocol, **options), [table.drop(["text"])])


@both
def test_columns_of_texts_and_those_told_to_be_inputs(run, mlserver, protocol):
    options = {"url": mlserver.url(protocol), "model_name": "echo"}
    table = pa.table({"name": ["a", "b"], "n": [1, 2], "m": [3, 4]})
    [scored] = run.one(RunTableInference(protocol, features=["name"], **options), [table])
    assert scored["prediction"].to_pylist() == ["a", "b"]
    [scored] = run.one(RunTableInference(protocol, features=["n", "m"], **options), [table])
    assert scored["prediction"].to_pylist() == [[1, 3], [2, 4]]
    options["tensor_per_column"] = True
    [scored] = run.one(RunTableInference(protocol, features=["n", "m"], **options), [table])
    assert scored["prediction_n"].to_pylist() == [1, 2]
    assert scored["prediction_m"].to_pylist() == [3, 4]


@both
def test_features_that_are_not_the_models(load, mlserver, protocol):
    handler = create_handler(protocol, url=mlserver.url(protocol), model_name="told")
    client = handler.load_model()
    with pytest.raises(FeatureError, match="inputs are 'text', 'pair', 'flag', but the features"):
        handler.collate_table(pa.table({"text": ["a"], "n": [1]}), client)
    handler.close_model(client)


@both
def test_models_of_one_server_by_path(mlserver, digits, protocol):
    handler = create_handler(protocol, url=mlserver.url(protocol), model_name="nobody")
    handler.update_model_path(f"{mlserver.url(protocol)}/v2/models/digits/versions/v1")
    client = handler.load_model()
    assert handler.run_inference(list(digits.inputs[:2]), client) == digits.predictions[:2]
    assert handler.model_id == handler.model_path
    assert handler.model_id.endswith("/v2/models/digits/versions/v1")
    handler.close_model(client)
    for path, words in [
        ("digits", "is no address of a model: write http://host:port/v2/models/NAME"),
        ("ftp://host/v2/models/digits", "is no address of a server"),
    ]:
        with pytest.raises(ConfigurationError, match=words):
            handler.update_model_path(path)
