"""Refuse models whose arrays would lead compiled code astray.

scikit-learn's trees, scipy's sparse matrices and splines are read by compiled code that believes
their arrays: an index out of range there is a crash of the interpreter, a tree whose branches lead
back is a loop without end. A file that was damaged, or made for it, may hold such arrays.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

__all__ = ["StructureError", "check_structures"]

_LEAF = -1


class StructureError(ValueError):
    """A part of a model that cannot be what its class says."""


def check_structures(model: Any) -> None:
    """Look through all parts of a model.

    Raises:
        StructureError: a tree, a sparse matrix or a spline whose indices lead nowhere, or trees for
            another number of features than the model's.
    """
    for part in _parts(model):
        for base in type(part).__mro__:
            check = _CHECKS.get(f"{base.__module__}.{base.__qualname__}")
            if check is not None:
                try:
                    check(part)
                except StructureError:
                    raise
                except Exception as error:
                    raise StructureError(f"{type(part).__name__}: {error}") from error


def _parts(model: Any) -> Iterator[Any]:
    seen: set[int] = set()
    waiting = [model]
    while waiting:
        part = waiting.pop()
        if isinstance(part, _PLAIN) or id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, list | tuple | set | frozenset):
            waiting += part
        elif isinstance(part, np.ndarray):
            if part.dtype == object:
                waiting += part.ravel().tolist()
        elif not isinstance(part, _CODE):
            waiting += getattr(part, "__dict__", {}).values()


_PLAIN = (str, bytes, int, float, complex, type(None), np.generic)
_CODE = (type, types.FunctionType, types.BuiltinFunctionType, types.ModuleType)


def _check_tree(tree: Any) -> None:
    left, right = tree.children_left, tree.children_right
    _check_nodes(left != _LEAF, left, right, tree.feature, tree.n_features, "Tree")


def _check_nodes(
    is_inner: Any, left: Any, right: Any, feature: Any, n_features: int, kind: str
) -> None:
    """Every node is the child of one other at most, and the root of none: no way leads back."""
    children = np.concatenate([left[is_inner], right[is_inner]]).astype(np.int64)
    _require(len(left) > 0, f"a {kind} without nodes")
    _require(
        bool(np.all((children > 0) & (children < len(left))))
        and len(np.unique(children)) == len(children),
        f"a {kind} whose branches lead nowhere",
    )
    features = feature[is_inner]
    _require(
        bool(np.all((features >= 0) & (features < n_features))),
        f"a {kind} that asks for a feature that there is not",
    )


def _check_decision_tree(estimator: Any) -> None:
    tree = getattr(estimator, "tree_", None)
    if tree is not None:
        _require(tree.n_features == estimator.n_features_in_, "a tree for other features")


def _check_ensemble(estimator: Any) -> None:
    for each in np.ravel(getattr(estimator, "estimators_", [])):
        _require(each.n_features_in_ == estimator.n_features_in_, "a tree for other features")


def _check_histogram_trees(estimator: Any) -> None:
    for predictors in getattr(estimator, "_predictors", []):
        for predictor in predictors:
            nodes = predictor.nodes
            is_inner = nodes["is_leaf"] == 0
            _check_nodes(
                is_inner,
                nodes["left"],
                nodes["right"],
                nodes["feature_idx"],
                estimator.n_features_in_,
                "TreePredictor",
            )
            bitsets = nodes["bitset_idx"][is_inner & (nodes["is_categorical"] != 0)]
            _require(
                bool(np.all(bitsets < len(predictor.raw_left_cat_bitsets))),
                "a TreePredictor that asks for a category that there is not",
            )


def _check_search_tree(tree: Any) -> None:
    data, order, nodes, bounds, _, levels, count = tree.__getstate__()[:7]
    points = len(data)
    _require(
        count == len(nodes) == bounds.shape[1] == 2**levels - 1
        and bounds.shape[2] == data.shape[1]
        and len(order) == points,
        "a search tree whose parts do not belong together",
    )
    _require(
        bool(np.all((order >= 0) & (order < points))), "a search tree of points that there are not"
    )
    start, end = nodes["idx_start"], nodes["idx_end"]
    _require(
        bool(np.all((start >= 0) & (start <= end) & (end <= points)))
        and bool(np.all(nodes["is_leaf"][count // 2 :] != 0)),
        "a search tree whose branches lead nowhere",
    )


def _check_sparse(matrix: Any) -> None:
    matrix.check_format(full_check=True)


def _check_spline(spline: Any) -> None:
    type(spline)(spline.t, spline.c, spline.k)  # its constructor is what looks at them


def _require(is_sound: bool, what: str) -> None:
    if not is_sound:
        raise StructureError(what)


_GRADIENT_BOOSTING = "sklearn.ensemble._hist_gradient_boosting.gradient_boosting"
_CHECKS: dict[str, Callable[[Any], None]] = {
    "sklearn.tree._tree.Tree": _check_tree,
    "sklearn.tree._classes.BaseDecisionTree": _check_decision_tree,
    "sklearn.ensemble._forest.BaseForest": _check_ensemble,
    "sklearn.ensemble._gb.BaseGradientBoosting": _check_ensemble,
    f"{_GRADIENT_BOOSTING}.BaseHistGradientBoosting": _check_histogram_trees,
    **{
        f"sklearn.neighbors._{module}.BinaryTree{bits}": _check_search_tree
        for module in ("kd_tree", "ball_tree")
        for bits in ("", "32", "64")
    },
    "scipy.interpolate._bsplines.BSpline": _check_spline,
    "scipy.sparse._compressed._cs_matrix": _check_sparse,
}
