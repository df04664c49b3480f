"""The threads of scikit-learn and of the linear algebra below it."""

import pytest
import threadpoolctl
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from runinference import Execution, RunInference
from runinference_sklearn import SklearnModelHandlerNumpy


@pytest.fixture(autouse=True)
def _two_threads():
    before = {pool["filepath"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
    with threadpoolctl.threadpool_limits(2):
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {2}
        yield
    for pool in threadpoolctl.threadpool_info():
        assert pool["num_threads"] == before.get(pool["filepath"], pool["num_threads"])


def test_n_jobs_of_every_step_and_the_pools_below(save, iris):
    forest = RandomForestClassifier(n_estimators=3, n_jobs=-1)
    path = save(make_pipeline(StandardScaler(), forest).fit(*iris))
    handler = SklearnModelHandlerNumpy(path)
    model = handler.load_model()
    assert model.get_params()["randomforestclassifier__n_jobs"] == -1
    handler.set_threads(model, 1)
    assert model.get_params()["randomforestclassifier__n_jobs"] == 1
    assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}


def test_in_a_pipeline(run, save, iris, classifier):
    transform = RunInference(
        SklearnModelHandlerNumpy(save(classifier)), execution=Execution(threads=1)
    )
    assert len(run.one(transform, list(iris[0][:5]))) == 5
    assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {1}
