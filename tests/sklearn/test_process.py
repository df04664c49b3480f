"""The handlers in a process of their own."""

import pyarrow as pa
import pytest
from sklearn.neighbors import KNeighborsClassifier

from runinference import Execution, RunInference, RunTableInference
from runinference.batch import RowBatch
from runinference.errors import ModelCrashedError, ModelLoadError
from runinference.model import LocalModel
from runinference.process import ProcessModel
from runinference.versions import ModelVersion
from runinference_sklearn import SklearnModelHandlerNumpy, SklearnModelHandlerPandas

APART = Execution(process=True, timeout=60)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_rows_and_tables(run, save, classifier, iris, method):
    inputs, _ = iris
    handler = SklearnModelHandlerNumpy(save(classifier, "skops"), method=method)
    results = run.one(RunInference(handler, execution=APART), list(inputs))
    expected = dict(zip(map(bytes, inputs), getattr(classifier, method)(inputs), strict=True))
    assert len(results) == len(inputs)
    for result in results:
        assert result.inference == pytest.approx(expected[bytes(result.example)])
    assert len({r.model_id for r in results}) == 1
    table = pa.table({name: inputs[:, n] for n, name in enumerate("abcd")})
    [apart] = run.one(RunTableInference(handler, execution=APART), [table])
    [here] = run.one(RunTableInference(handler), [table])
    assert apart.equals(here)


def test_frames(save, iris, frame):
    _, labels = iris
    model = KNeighborsClassifier(1).fit(frame[["a", "b"]], labels)
    version = ModelVersion(SklearnModelHandlerPandas(save(model)), "f", execution=APART)
    batch = RowBatch([frame.iloc[i : i + 1] for i in range(5)])
    there = ProcessModel(version)
    assert there.predict(batch, None) == LocalModel(version).predict(batch, None)
    assert there.num_bytes(batch) == LocalModel(version).num_bytes(batch)
    there.close()


def test_a_missing_file_is_the_same_error_as_ever(tmp_path):
    handler = SklearnModelHandlerNumpy(str(tmp_path / "absent.skops"))
    with pytest.raises(ModelLoadError, match="does not exist"):
        ProcessModel(ModelVersion(handler, "f", execution=APART))


def test_one_crash_among_thirty(run, save, classifier, iris):
    inputs, _ = iris
    examples = list(inputs[:30])
    bad = examples[17].tobytes()

    def predict(model, batch, inference_args):
        import os

        if any(row.tobytes() == bad for row in batch):
            os.abort()
        return model.predict(batch)

    handler = SklearnModelHandlerNumpy(save(classifier, "skops"), inference_fn=predict)
    with run.pipeline() as pipeline:
        import apache_beam as beam

        results, dead = (
            pipeline
            | beam.Create(examples, reshuffle=False)
            | RunInference(handler, execution=APART).with_exception_handling()
        )
        run.keep(results)
        run.keep(dead.failed_inferences, "failed")
    assert len(run.elements()) == 29
    [failure] = run.elements("failed")
    assert failure.example.tobytes() == bad
    assert failure.type.endswith(ModelCrashedError.__name__)
    assert "SIGABRT" in failure.message
