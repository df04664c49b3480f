"""The unpickler: every model of scikit-learn loads, and nothing that a file names is run."""

import bz2
import collections
import gc
import gzip
import io
import lzma
import pickle
import struct
import weakref
import zlib

import joblib
import numpy as np
import pytest
from estimators import answers, dumped, fitted
from scipy import sparse, stats
from sklearn.base import BaseEstimator
from sklearn.datasets import make_classification
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.gaussian_process import GaussianProcessRegressor, kernels
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import f1_score, get_scorer_names, make_scorer
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from threadpoolctl import threadpool_limits

from runinference_sklearn.compressed import decompress
from runinference_sklearn.safe_pickle import BlockedNameError, loads
from runinference_sklearn.structures import check_structures


class Call:
    """Pickled as a call of a function, with a state to set afterwards."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.parts


def same(first, second):
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    if sparse.issparse(first):
        return first.shape == second.shape and (first != second).nnz == 0
    return type(first) is type(second) and np.array_equal(
        first, second, equal_nan=np.asarray(first).dtype.kind in "fc"
    )


@pytest.mark.filterwarnings("ignore")  # small data and few iterations: fits do not converge
def test_every_estimator_of_sklearn_loads_and_answers_as_after_plain_unpickling():
    different = []
    names = []
    with threadpool_limits(1):  # many small fits: threads would wait for each other
        for name, estimator, inputs in fitted():
            names.append(name)
            for kind in ("pickle", "joblib"):
                data = dumped(estimator, kind)
                expected = answers(joblib.load(io.BytesIO(data)), inputs)
                loaded = loads(data)
                check_structures(loaded)
                if not same(answers(loaded, inputs), expected):
                    different.append(f"{name} ({kind})")
    assert different == []
    assert len(names) > 190


INPUTS, LABELS = make_classification(60, 4, n_informative=3, n_redundant=0, random_state=0)
MODELS = {
    **{
        f"sgd-{loss}": SGDClassifier(loss=loss)
        for loss in ("hinge", "log_loss", "modified_huber", "huber", "squared_error")
    },
    **{
        f"boosted-{loss}": GradientBoostingRegressor(loss=loss, n_estimators=2)
        for loss in ("squared_error", "absolute_error", "huber", "quantile")
    },
    **{
        f"histogram-{loss}": HistGradientBoostingRegressor(loss=loss, quantile=0.5, max_iter=2)
        for loss in ("squared_error", "absolute_error", "poisson", "quantile")
    },
    "watched": HistGradientBoostingClassifier(max_iter=2, scoring="f1", early_stopping=True),
    "categorical": HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]),
    "kernels": GaussianProcessRegressor(
        kernels.RBF() * kernels.ConstantKernel() + kernels.Matern() + kernels.WhiteKernel()
    ),
    **{
        f"neighbours-{tree}-{metric}": KNeighborsClassifier(algorithm=tree, metric=metric, p=3)
        for tree in ("kd_tree", "ball_tree", "brute")
        for metric in ("euclidean", "manhattan", "chebyshev", "minkowski")
    },
    "ufunc": FunctionTransformer(np.log1p),
    "function": FunctionTransformer(np.nan_to_num),
    "dtype": OneHotEncoder(dtype=np.float32, handle_unknown="ignore"),
    "scores": SelectKBest(f_classif, k=2),
    "search": GridSearchCV(LogisticRegression(), {"C": [1.0]}, cv=KFold(2), scoring="roc_auc"),
    "scorer": GridSearchCV(
        LogisticRegression(), {"C": [1.0]}, cv=2, scoring=make_scorer(f1_score, average="macro")
    ),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore")  # as above
def test_options_that_keep_other_objects_in_a_model(name):
    model = MODELS[name].fit(np.abs(INPUTS), np.abs(LABELS))
    expected = answers(model, np.abs(INPUTS))
    for protocol in (2, 4, 5):
        assert same(answers(loads(pickle.dumps(model, protocol)), np.abs(INPUTS)), expected)
    assert same(answers(loads(dumped(model, "joblib")), np.abs(INPUTS)), expected)


def test_every_named_scorer_loads():
    scorers = {name: make_search(name) for name in get_scorer_names()}
    assert loads(pickle.dumps(scorers)).keys() == scorers.keys()


def make_search(scoring):
    from sklearn.metrics import get_scorer

    search = GridSearchCV(LogisticRegression(), {})
    search.scorer_ = get_scorer(scoring)
    return search


@pytest.mark.parametrize("compress", ["zlib", "gzip", "bz2", "lzma", "xz"])
def test_compressed_files_of_joblib(compress, classifier, iris):
    file = io.BytesIO()
    joblib.dump(classifier, file, compress=(compress, 3))
    assert file.getvalue() != decompress(file.getvalue())
    assert same(loads(file.getvalue()).predict(iris[0]), classifier.predict(iris[0]))


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_compressed_pickles(compress, classifier):
    assert same(loads(compress(pickle.dumps(classifier))).coef_, classifier.coef_)


ran = []


def attack():
    ran.append(1)


@pytest.fixture(autouse=True)
def _nothing_ran():
    yield
    assert ran == []


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (attack, ()),
        (eval, ("1",)),
        (exec, ("",)),
        (__import__, ("os",)),
        (open, ("/dev/null",)),
        (np.load, ("/dev/null",)),
        (np.fromfile, ("/dev/null",)),
        (np.frompyfunc, (attack, 0, 1)),
        (getattr, (LogisticRegression(), "fit")),
        (joblib.load, ("/dev/null",)),
        (stats.norm, ()),
        (io.BytesIO, ()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_not_listed_is_not_called(protocol, function, arguments):
    for payload in (
        Call(function, *arguments),
        [LogisticRegression(), Call(function, *arguments)],
        collections.OrderedDict(a=Call(function, *arguments)),
    ):
        with pytest.raises(BlockedNameError):
            loads(pickle.dumps(payload, protocol))


def test_the_arrays_of_objects_in_a_joblib_file_are_held_to_the_list_too():
    model = LogisticRegression()
    model.classes_ = np.array([Call(attack), None], dtype=object)
    with pytest.raises(BlockedNameError, match=r"test_safe_pickle\.attack$"):
        loads(dumped(model, "joblib"))
    model.classes_ = np.array([[np.array([Call(attack)], dtype=object)]], dtype=object)
    with pytest.raises(BlockedNameError, match=r"test_safe_pickle\.attack$"):
        loads(dumped(model, "joblib"))


def named(module, name):
    """A pickle that is a name and nothing more."""
    texts = (text.encode() for text in (module, name))
    return b"\x80\x04" + b"".join(b"\x8c" + bytes([len(t)]) + t for t in texts) + b"\x93."


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sklearn.base", "BaseEstimator.__init__"),
        ("sklearn.base", "os"),
        ("sklearn.base", "clone"),
        ("sklearn.linear_model", "LogisticRegression"),  # scikit-learn pickles its own place of it
        ("sklearn.datasets._base", "load_files"),
        ("sklearn.utils._testing", "MinimalClassifier"),
        ("sklearn.tests.test_base", "MyEstimator"),
        ("sklearn.conftest", "pytest"),
        ("sklearn", "__loader__"),
        ("sklearn.nowhere", "Nothing"),
        ("numpy", "load"),
        ("numpy", "ndarray.tofile"),
        ("numpy", "void"),
        ("numpy", "record"),
        ("numpy", "vectorize"),
        ("builtins", "compile"),
        ("scipy.stats._distn_infrastructure", "rv_continuous_frozen"),
        ("joblib.numpy_pickle", "NDArrayWrapper"),
        ("joblib.numpy_pickle_compat", "ZNDArrayWrapper"),
        ("functools", "reduce"),
        ("operator", "attrgetter"),
        ("os", "system"),
        ("", ""),
    ],
)
def test_names_that_are_not_on_the_list(module, name):
    with pytest.raises(BlockedNameError) as raised:
        loads(named(module, name))
    assert raised.value.name == f"{module}.{name}"


def test_a_name_is_trusted_exactly():
    data = pickle.dumps(Call(collections.ChainMap))
    assert loads(data, ["collections.ChainMap"]) == collections.ChainMap()
    for other in ("collections", "ChainMap", "collections.*", "collections.chainmap"):
        with pytest.raises(BlockedNameError):
            loads(data, [other])


POINTER = struct.pack("P", id(None))


@pytest.mark.parametrize(
    "payload",
    [
        Call(np.ndarray, (1,), np.dtype("O"), POINTER),
        Call(np.ndarray, (1,), np.dtype([("a", "O")]), POINTER),
        Call(np.void, POINTER, np.dtype([("a", "O")])),
    ],
)
def test_bytes_are_never_taken_for_objects(payload):
    with pytest.raises(Exception, match=r"_ArrayType|numpy\.void"):
        loads(pickle.dumps(payload))


# States of an eight-byte data type that numpy itself would believe.
STATES = {
    "object": (None, ("a",), {"a": (np.dtype("O"), 0)}, 8),
    "objects": ((np.dtype("O"), (1,)), None, None, 8),
    "long": ((np.dtype("i8"), (1000,)), None, None, 8),
}


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (STATES["object"], np.dtype([("a", "O")])),
        (STATES["objects"], np.dtype(("O", (1,)))),
        (STATES["long"], np.dtype(("i8", (1000,)))),
    ],
)
def test_a_data_type_is_what_numpy_makes_of_its_parts(state, expected):
    found = loads(pickle.dumps(Call(np.dtype, "V8", False, True, state=(3, "|", *state, 1, 0))))
    assert found == expected
    assert (found.itemsize, found.flags) == (expected.itemsize, expected.flags)


@pytest.mark.parametrize("part", [(np.dtype("i8"), 1000), (np.dtype("V1000"), 0)])
def test_a_data_type_larger_than_it_says(part):
    state = (3, "|", None, ("a",), {"a": part}, 8, 1, 0)
    with pytest.raises(ValueError, match="cannot override to smaller itemsize"):
        loads(pickle.dumps(Call(np.dtype, "V8", False, True, state=state)))


@pytest.mark.parametrize("state", [(3, "<", None, None, None, -1, -1, 0), (3,), (), None, 1, "abc"])
def test_a_data_type_whose_state_is_damaged(state):
    with pytest.raises((IndexError, TypeError, ValueError)):
        loads(pickle.dumps(Call(np.dtype, "m8", False, True, state=state or [])))


def test_the_data_types_that_numpy_shares_stay_as_they_are():
    shared = np.dtype("f8")
    state = (3, ">", None, None, None, -1, -1, 0)
    assert loads(pickle.dumps(Call(np.dtype, "f8", False, False, state=state))) is not np.dtype(
        "f8"
    )
    assert shared.isnative


@pytest.mark.parametrize("kind", ["pickle", "joblib"])
def test_a_model_goes_with_its_last_reference(kind):
    gc.collect()
    gc.disable()
    try:
        model = loads(dumped(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), kind))
        gone = weakref.ref(model)
        del model
        assert gone() is None
    finally:
        gc.enable()


def test_an_array_gets_its_state_once():
    whole = pickle.dumps(np.arange(1000.0), 3)
    assert loads(whole).sum() == 499500
    # Whoever looks at the array by now would look at memory that is no longer its own.
    state = pickle.dumps((1, (0,), np.dtype("u1"), False, b""), 3)
    with pytest.raises(pickle.UnpicklingError, match="second state"):
        loads(whole[:-1] + state[2:-1] + pickle.BUILD + pickle.STOP)


def test_an_array_is_not_seen_before_it_has_its_state():
    whole = pickle.dumps(np.arange(3.0), 3)
    cut = whole[: whole.index(pickle.REDUCE, 60) + 1]
    for again in (pickle.DUP, pickle.BINPUT + b"\x63" + pickle.BINGET + b"\x63"):
        with pytest.raises(pickle.UnpicklingError, match="without its state"):
            loads(cut + again + pickle.STOP)


def test_a_data_type_is_none_before_it_has_its_state():
    whole = pickle.dumps(np.dtype("f8"), 3)
    assert loads(whole) == np.dtype("f8")
    begun = loads(whole[: whole.index(pickle.REDUCE) + 1] + pickle.STOP)
    assert not isinstance(begun, np.dtype)
    state = pickle.dumps((3, ">", None, None, None, -1, -1, 0), 3)
    with pytest.raises(pickle.UnpicklingError, match="second state"):
        loads(whole[:-1] + state[2:-1] + pickle.BUILD + pickle.STOP)


def test_classes_and_functions_cannot_be_changed():
    setting = pickle.dumps((None, {"predict": 1}), 2)[2:-1] + pickle.BUILD + pickle.STOP
    for target in (LogisticRegression, np.log1p, make_scorer(f1_score)._score_func):
        data = pickle.dumps(target, 2)[:-1] + setting
        with pytest.raises(pickle.UnpicklingError, match="a state for <"):
            loads(data)
    assert not isinstance(BaseEstimator.get_params, int)
    assert callable(LogisticRegression.predict)


def test_dtypes_and_arrays_of_every_kind_come_back():
    values = [
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["a", "bcd"]),
        np.array([b"a", b"bcd"]),
        np.array(["2020-01-01"], "M8[ns]"),
        np.array([True]),
        np.array([1 + 2j]),
        np.array(["a", None, 1.5], dtype=object),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.zeros(2, dtype=[("a", "f4", (2, 3)), ("b", [("c", "u1")])]),
        np.zeros(2, dtype=np.dtype([("a", "u1"), ("b", "f8")], align=True)),
        np.array(3.0),
        np.array([], dtype="f4"),
        np.arange(3, dtype=">i4"),
        np.float32(1.5),
        np.str_("x"),
    ]
    for value in values:
        for protocol in (2, 3, 4, 5):
            found = loads(pickle.dumps(value, protocol))
            assert type(found) is type(value)
            plain = pickle.loads(pickle.dumps(value, protocol))
            assert np.asarray(found).dtype == np.asarray(plain).dtype
            assert np.array_equal(found, value)
        assert np.array_equal(loads(dumped(value, "joblib")), value)
    masked = np.ma.masked_array([1.0, 2.0], [0, 1])
    assert loads(pickle.dumps(masked)).tolist() == [1.0, None]
    shared = np.arange(3)
    first, second = loads(pickle.dumps([shared, shared]))
    assert first is second
