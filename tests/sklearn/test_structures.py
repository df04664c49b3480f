"""Trees and sparse matrices that would lead compiled code astray are refused."""

import numpy as np
import pytest
import skops.io
from estimators import dumped
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.neighbors import BallTree, KDTree, KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import SplineTransformer
from sklearn.tree import DecisionTreeClassifier

from runinference.errors import ModelLoadError
from runinference_sklearn import SklearnModelHandlerNumpy

INPUTS, LABELS = load_iris(return_X_y=True)


def refused(save, model, kind="pickle"):
    """The message with which a model's file is refused."""
    trusted = []
    if kind == "skops":
        trusted = skops.io.get_untrusted_types(data=dumped(model, kind))
    with pytest.raises(ModelLoadError) as raised:
        SklearnModelHandlerNumpy(save(model, kind), trusted_types=trusted).load_model()
    return str(raised.value)


def change(tree, field, node, value):
    state = tree.__getstate__()
    state["nodes"][field][node] = value
    tree.__setstate__(state)


@pytest.mark.parametrize("kind", ["pickle", "joblib", "skops"])
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("left_child", 0, "a Tree whose branches lead nowhere"),  # a loop
        ("left_child", 1000, "a Tree whose branches lead nowhere"),
        ("right_child", -5, "a Tree whose branches lead nowhere"),
        ("feature", 4, "a Tree that asks for a feature that there is not"),
        ("feature", -3, "a Tree that asks for a feature that there is not"),
    ],
)
def test_a_decision_tree(field, value, message, kind, save):
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(INPUTS, LABELS)
    change(model.tree_, field, 0, value)
    assert message in refused(save, model, kind)


def test_two_nodes_with_the_same_child(save):
    model = DecisionTreeClassifier(max_depth=3, random_state=0).fit(INPUTS, LABELS)
    change(model.tree_, "right_child", 0, model.tree_.children_left[0])
    assert "a Tree whose branches lead nowhere" in refused(save, model)


@pytest.mark.parametrize("kind", [RandomForestClassifier, GradientBoostingClassifier])
def test_a_tree_of_an_ensemble(kind, save):
    model = kind(n_estimators=3, max_depth=2, random_state=0).fit(INPUTS, LABELS)
    tree = np.ravel(model.estimators_)[-1]
    change(tree.tree_, "left_child", 0, 0)
    assert "a Tree whose branches lead nowhere" in refused(save, model)


def test_a_tree_for_other_features(save):
    model = RandomForestClassifier(2, random_state=0).fit(INPUTS, LABELS)
    narrow = RandomForestClassifier(1, random_state=0).fit(INPUTS[:, :2], LABELS)
    model.estimators_[1] = narrow.estimators_[0]
    assert "a tree for other features" in refused(save, model)
    alone = DecisionTreeClassifier().fit(INPUTS, LABELS)
    alone.n_features_in_ = 2
    assert "a tree for other features" in refused(save, alone)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("left", 0, "a TreePredictor whose branches lead nowhere"),
        ("right", 1 << 31, "a TreePredictor whose branches lead nowhere"),
        ("feature_idx", 4, "asks for a feature that there is not"),
        ("bitset_idx", 9, "asks for a category that there is not"),
    ],
)
def test_a_tree_on_histograms(field, value, message, save):
    inputs = np.column_stack([np.arange(150) % 5, INPUTS[:, 1:]])
    model = HistGradientBoostingClassifier(max_iter=2, categorical_features=[0])
    model.fit(inputs, np.arange(150) % 5 // 2)
    nodes = model._predictors[0][0].nodes
    assert nodes["is_categorical"][0]
    SklearnModelHandlerNumpy(save(model)).load_model()
    nodes[field][0] = value
    assert message in refused(save, model)


@pytest.mark.parametrize("kind", [KDTree, BallTree])
@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        (1, lambda order: order.__setitem__(3, 1000), "points that there are not"),
        (2, lambda nodes: nodes["idx_end"].__setitem__(1, 1000), "branches lead nowhere"),
        (2, lambda nodes: nodes["idx_start"].__setitem__(1, -1), "branches lead nowhere"),
        (2, lambda nodes: nodes["is_leaf"].__setitem__(-1, 0), "branches lead nowhere"),
        (6, None, "do not belong together"),
    ],
)
def test_a_search_tree(kind, part, change, message, save):
    model = KNeighborsClassifier(algorithm="kd_tree").fit(INPUTS, LABELS)
    state = list(kind(INPUTS).__getstate__())
    if change is None:
        state[part] += 2
    else:
        state[part] = state[part].copy()
        change(state[part])
    model._tree = kind.__new__(kind)
    model._tree.__setstate__(tuple(state))
    assert message in refused(save, model)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_array])
def test_a_sparse_matrix(kind, save):
    model = SGDClassifier(random_state=0).fit(INPUTS, LABELS).sparsify()
    model.coef_ = kind(model.coef_)
    SklearnModelHandlerNumpy(save(model)).load_model()
    model.coef_.indices[0] = 10_000
    assert "indices must be <" in refused(save, model)


def test_a_spline(save):
    model = make_pipeline(SplineTransformer(4), LogisticRegression(max_iter=50)).fit(INPUTS, LABELS)
    SklearnModelHandlerNumpy(save(model)).load_model()
    model[0].bsplines_[1].k = 1 << 20
    assert "BSpline: " in refused(save, model)
