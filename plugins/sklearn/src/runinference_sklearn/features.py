"""What a scikit-learn model says about the features that it was trained on."""

from __future__ import annotations

from typing import Any

__all__ = ["describe", "feature_count", "feature_names", "takes_nulls", "used_names"]

# Encoders that make a category of what is missing; imputers are known by their module.
_FILLING = ("OneHotEncoder", "TargetEncoder")


def describe(model: Any) -> str:
    """A model's class, for messages."""
    return type(model).__qualname__


def feature_count(model: Any) -> int | None:
    """How many features one row has; None for a model of texts, or one that does not tell."""
    count = getattr(model, "n_features_in_", None)
    return None if count is None else int(count)


def feature_names(model: Any) -> list[str] | None:
    """The columns of the frame that the model was trained on, in order; None where it had none."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def used_names(model: Any) -> list[str] | None:
    """:func:`feature_names` without those that the model drops before it looks at them."""
    names = feature_names(model)
    first = _first_step(model)
    # No public attribute tells the columns of every transformer in one form. Without this one
    # (another version of scikit-learn), all columns are asked for.
    indices = getattr(first, "_transformer_to_input_indices", None)
    if names is None or not isinstance(indices, dict) or feature_names(first) != names:
        return names
    used = {
        index
        for name, transformer, _ in first.transformers_
        if transformer != "drop"
        for index in indices.get(name, ())
    }
    return [name for index, name in enumerate(names) if index in used]


def takes_nulls(model: Any) -> bool:
    """Whether features of the model may be missing.

    The model itself says so; or it is a pipeline whose steps do, up to the one behind which nothing
    is missing any more, such as an imputer.
    """
    model = getattr(model, "best_estimator_", model)
    if hasattr(model, "steps"):
        for step in _estimators(model):
            if not takes_nulls(step):
                return False
            if _fills_nulls(step):
                return True
        return True
    if _is_union(model):
        return all(map(takes_nulls, _estimators(model)))
    return _says_that_it_takes_nulls(model)


def _says_that_it_takes_nulls(model: Any) -> bool:
    from sklearn import utils

    try:
        if hasattr(utils, "get_tags"):
            return bool(utils.get_tags(model).input_tags.allow_nan)
        return bool(model._get_tags()["allow_nan"])  # before scikit-learn 1.6
    except (AttributeError, KeyError):  # a model of another library
        return False


def _fills_nulls(step: Any) -> bool:
    """Whether nothing is missing in what a step of a pipeline answers."""
    if hasattr(step, "steps"):
        return any(map(_fills_nulls, _estimators(step)))
    if _is_union(step):
        return all(not _does_nothing(part) and _fills_nulls(part) for part in _parts(step))
    kind = type(step)
    return kind.__module__.startswith("sklearn.impute.") or kind.__name__ in _FILLING


def _is_union(model: Any) -> bool:
    """Whether it is a ColumnTransformer or a FeatureUnion: several transformers side by side."""
    return hasattr(model, "transformer_list") or hasattr(model, "transformers_")


def _estimators(model: Any) -> list[Any]:
    """Those that a pipeline or a union is made of, but for what does nothing."""
    return [part for part in _parts(model) if not _does_nothing(part)]


def _parts(model: Any) -> list[Any]:
    for parts in ("transformers_", "transformer_list", "steps"):
        if hasattr(model, parts):
            return [part[1] for part in getattr(model, parts) if part[1] != "drop"]
    return []


def _does_nothing(part: Any) -> bool:
    if part is None or isinstance(part, str):
        return True
    # what a fitted ColumnTransformer has in the place of "passthrough"
    return type(part).__name__ == "FunctionTransformer" and part.func is None


def _first_step(model: Any) -> Any:
    model = getattr(model, "best_estimator_", model)
    steps = getattr(model, "steps", None)
    return steps[0][1] if steps else model
