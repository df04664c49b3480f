"""Every estimator of the installed scikit-learn, fitted on small data, and files of models."""

import inspect
import io
import pickle

import joblib
import numpy as np
import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from sklearn.utils import all_estimators

_random = np.random.RandomState(0)
_data = load_iris()
_chosen = _random.permutation(150)[:80]
INPUTS = np.abs(_data.data[_chosen]) + 0.1
LABELS = _data.target[_chosen]
TEXTS = ["the cat sat", "dogs run fast", "a cat ran", "the dog sat"] * 5
RECORDS = [{"a": 1.0, "b": "x"}, {"a": 2.0, "b": "y"}] * 5
METHODS = ("predict", "predict_proba", "decision_function", "transform")


def dumped(model, kind):
    """A model as the bytes of a file."""
    if kind == "skops":
        return skops.io.dumps(model)
    if kind == "pickle":
        return pickle.dumps(model)
    file = io.BytesIO()
    joblib.dump(model, file)
    return file.getvalue()


def fitted():
    """Name, fitted estimator and inputs of each; AssertionError for one that cannot be fitted."""
    for name, kind in all_estimators():
        error = None
        for inputs, target in _data_for(name):
            try:
                estimator = _make(name, kind)
                estimator.fit(inputs) if target is None else estimator.fit(inputs, target)
            except Exception as raised:  # noqa: BLE001  # the next data may be of the right kind
                error = raised
            else:
                yield name, estimator, inputs
                break
        else:
            raise AssertionError(f"{name} cannot be fitted") from error


def answers(estimator, inputs):
    """What each method of an estimator answers, with the same random numbers each time."""
    found = {}
    for method in METHODS:
        if hasattr(estimator, method):
            np.random.seed(0)  # what estimators without a random_state draw from
            try:
                found[method] = getattr(estimator, method)(inputs)
            except (TypeError, ValueError) as error:  # takes something else than it was fitted on
                found[method] = str(error)
    return found


def _make(name, kind):
    classifier, regressor = LogisticRegression(max_iter=20), Ridge()
    pair = {
        "Classifier": [("a", classifier), ("b", DecisionTreeClassifier())],
        "Regressor": [("a", regressor), ("b", DecisionTreeRegressor())],
    }
    arguments = {
        "ColumnTransformer": [[("a", StandardScaler(), [0, 1]), ("b", "passthrough", [2])]],
        "FeatureUnion": [[("a", StandardScaler())]],
        "FrozenEstimator": [classifier.fit(INPUTS, LABELS)],
        "MultiOutputRegressor": [regressor],
        "Pipeline": [[("a", StandardScaler()), ("b", classifier)]],
        "RegressorChain": [regressor],
        "SelfTrainingClassifier": [classifier],
        "SparseCoder": [np.eye(4)[:3]],
    }.get(name)
    if name.endswith("SearchCV"):
        arguments = [classifier, {"C": [0.1, 1.0]}]
    if name.startswith(("Stacking", "Voting")):
        arguments = [pair["Classifier" if "Classifier" in name else "Regressor"]]
    parameters = inspect.signature(kind).parameters.values()
    if arguments is None:
        arguments = [
            classifier
            for parameter in parameters
            if parameter.default is parameter.empty
            and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]
    estimator = kind(*arguments)
    small = {} if name == "TSNE" else {"max_iter": 20, "n_estimators": 5, "n_iter": 2}
    if name.endswith("RandomProjection"):
        small["n_components"] = 2
    known = estimator.get_params(deep=False)
    estimator.set_params(**{key: small[key] for key in small if known.get(key) is not None})
    return estimator


def _data_for(name):
    special = {
        "DictVectorizer": (RECORDS, None),
        "FeatureHasher": (RECORDS, None),
        "IsotonicRegression": (INPUTS[:, 0], INPUTS[:, 1]),
        "LabelBinarizer": (LABELS, None),
        "LabelEncoder": (LABELS, None),
        "MultiLabelBinarizer": ([[1, 2], [3]] * 4, None),
        "PatchExtractor": (_random.rand(3, 8, 8), None),
    }
    if name in special:
        yield special[name]
    elif "Vectorizer" in name:
        yield TEXTS, None
    binary = (LABELS == 0).astype(int)
    several = np.stack([binary, LABELS > 1], axis=1).astype(int)
    numbers = INPUTS[:, 0] * 2 + INPUTS[:, 1] + 0.5
    for target in (LABELS, binary, numbers, several, np.stack([numbers, -numbers], axis=1)):
        yield INPUTS, target
    yield INPUTS, None
    yield INPUTS @ INPUTS.T, LABELS
