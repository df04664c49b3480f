"""The names that pickled scikit-learn models need; none runs code of the file's choosing.

What is listed builds data, or computes on it. Left out on purpose: whatever opens files, imports,
evaluates or looks up by name (``getattr``, ``numpy.load``, the distributions of ``scipy.stats``,
which compile source text that they find in their state), and what takes bytes for addresses of
objects (``numpy.ndarray`` and ``numpy.void`` when they are called).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

__all__ = ["is_allowed"]

_METRICS = (
    "BrayCurtis Canberra Chebyshev Dice Euclidean Hamming Haversine Jaccard Mahalanobis Manhattan "
    "Matching Minkowski RogersTanimoto RussellRao SEuclidean SokalMichener SokalSneath WMinkowski"
)
_LOSSES = (
    "AbsoluteError ExponentialLoss HalfBinomialLoss HalfGammaLoss HalfMultinomialLoss "
    "HalfPoissonLoss HalfSquaredError HalfTweedieLoss HalfTweedieLossIdentity HuberLoss PinballLoss"
)
# Some of these names exist in some versions of the libraries alone.
_NAMES: Mapping[str, str] = {
    "builtins": "bool bytearray bytes complex dict float frozenset int list object range set slice "
    "str tuple",
    "collections": "Counter OrderedDict defaultdict deque",
    "functools": "partial",
    "numpy": "abs amax amin around asarray atleast_2d clip column_stack cumsum diff hstack matrix "
    "max mean median min nan_to_num nanmean nanmedian prod ravel reshape round squeeze std sum "
    "transpose var vstack",
    "numpy._core.multiarray": "scalar",
    "numpy._core.numeric": "_frombuffer",
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray",
    "numpy.random._mt19937": "MT19937",
    "numpy.random._pcg64": "PCG64 PCG64DXSM",
    "numpy.random._philox": "Philox",
    "numpy.random._pickle": "__bit_generator_ctor __generator_ctor __randomstate_ctor",
    "numpy.random._sfc64": "SFC64",
    "numpy.random.bit_generator": "SeedSequence __pyx_unpickle_SeedSequence",
    "scipy._lib.array_api_compat.numpy._aliases": "asarray",
    "scipy.interpolate._bsplines": "BSpline",
    "scipy.interpolate._interpolate": "interp1d",
    **{
        f"scipy.sparse._{kind}": f"{kind}_array {kind}_matrix"
        for kind in ("bsr", "coo", "csc", "csr", "dia", "lil")
    },
    "sklearn._loss._loss": " ".join(
        f"Cy{loss} __pyx_unpickle_Cy{loss}" for loss in _LOSSES.split()
    ),
    "sklearn._loss.link": "HalfLogitLink IdentityLink Interval LogLink LogitLink MultinomialLogit",
    "sklearn._loss.loss": _LOSSES,
    "sklearn.calibration": "_CalibratedClassifier",
    "sklearn.cluster._birch": "_CFNode _CFSubcluster",
    "sklearn.cluster._bisect_k_means": "_BisectingTree",
    "sklearn.cluster._kmeans": "_kmeans_single_elkan _kmeans_single_lloyd",
    "sklearn.compose._column_transformer": "_RemainderColsList make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.feature_selection._mutual_info": "mutual_info_classif mutual_info_regression",
    "sklearn.feature_selection._univariate_selection": "chi2 f_classif f_oneway f_regression "
    "r_regression",
    "sklearn.gaussian_process.kernels": "CompoundKernel ConstantKernel DotProduct ExpSineSquared "
    "Exponentiation Hyperparameter Matern PairwiseKernel Product RBF RationalQuadratic Sum "
    "WhiteKernel",
    "sklearn.impute._iterative": "_ImputerTriplet",
    "sklearn.linear_model._sgd_fast": "EpsilonInsensitive Hinge Huber Log ModifiedHuber "
    "SquaredEpsilonInsensitive SquaredHinge SquaredLoss",
    "sklearn.metrics._scorer": "_CurveScorer _MultimetricScorer _PassthroughScorer _Scorer "
    "negative_likelihood_ratio positive_likelihood_ratio",
    "sklearn.model_selection._classification_threshold": "_CurveScorer",
    "sklearn.model_selection._split": "GroupKFold GroupShuffleSplit KFold LeaveOneGroupOut "
    "LeaveOneOut LeavePGroupsOut LeavePOut PredefinedSplit RepeatedKFold RepeatedStratifiedKFold "
    "ShuffleSplit StratifiedGroupKFold StratifiedKFold StratifiedShuffleSplit TimeSeriesSplit "
    "_CVIterableWrapper",
    **{
        f"sklearn.neighbors.{module}": f"{tree} {tree}32 {tree}64 newObj"
        for module, tree in (("_ball_tree", "BallTree"), ("_kd_tree", "KDTree"))
    },
    "sklearn.metrics._dist_metrics": "newObj "
    + " ".join(
        f"{metric}Distance{bits}" for metric in _METRICS.split() for bits in ("", "32", "64")
    ),
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.tree._tree": "Tree",
    "sklearn.utils._bunch": "Bunch",
    "sklearn.utils._metadata_requests": "MetadataRequest MethodMetadataRequest",
    "sklearn.utils.validation": "check_array",
}
# Modules that hold the functions of `sklearn.metrics`: those that it exports may be in a scorer.
_METRIC_MODULES = frozenset(
    {
        "sklearn.metrics._classification",
        "sklearn.metrics._ranking",
        "sklearn.metrics._regression",
        "sklearn.metrics.cluster._supervised",
        "sklearn.metrics.cluster._unsupervised",
    }
)


def is_allowed(module: str, name: str) -> bool:
    """Whether a pickle may name this; imports modules of scikit-learn and numpy alone."""
    if "." in name:  # an attribute of what is allowed is another thing
        return False
    if name in _allowed_names().get(module, ()):
        return True
    if module in _METRIC_MODULES:
        import sklearn.metrics

        return name in sklearn.metrics.__all__
    return module.startswith("sklearn.") and _is_estimator(module, name)


@functools.cache
def _allowed_names() -> Mapping[str, frozenset[str]]:
    import numpy as np

    # Data types and functions of one element each, under whatever names this numpy has for them.
    elementwise = {name for name, value in vars(np).items() if isinstance(value, np.ufunc)}
    scalars = {
        name
        for name, value in vars(np).items()
        if isinstance(value, type) and issubclass(value, np.generic)
        if not issubclass(value, np.void)
    }
    names = {module: frozenset(listed.split()) for module, listed in _NAMES.items()}
    return {
        **names,
        "numpy": names["numpy"] | elementwise | scalars,
        "numpy._core._multiarray_umath": frozenset(elementwise),
    }


@functools.cache
def _is_estimator(module: str, name: str) -> bool:
    """Whether scikit-learn defines a class under exactly this name that is an estimator."""
    import importlib

    from sklearn.base import BaseEstimator

    parts = module.split(".")
    if any(part.startswith("test") or part in {"conftest", "externals"} for part in parts):
        return False
    try:
        found: Any = getattr(importlib.import_module(module), name, None)
    except ImportError:  # another version of scikit-learn: the unpickler will say so
        return False
    return (
        isinstance(found, type)
        and issubclass(found, BaseEstimator)
        and (found.__module__, found.__qualname__) == (module, name)
    )
