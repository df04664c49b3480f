"""What a scikit-learn model says about the features that it was trained on."""

from __future__ import annotations

from typing import Any

__all__ = ["describe", "feature_count", "feature_names", "takes_nulls", "used_names"]


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
    """Whether the model says that its features may be missing."""
    from sklearn import utils

    try:
        if hasattr(utils, "get_tags"):
            return bool(utils.get_tags(model).input_tags.allow_nan)
        return bool(model._get_tags()["allow_nan"])  # before scikit-learn 1.6
    except (AttributeError, KeyError):  # a model of another library
        return False


def _first_step(model: Any) -> Any:
    model = getattr(model, "best_estimator_", model)
    steps = getattr(model, "steps", None)
    return steps[0][1] if steps else model
