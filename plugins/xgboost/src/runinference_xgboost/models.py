"""Load a model from XGBoost's own formats, with what it says of itself."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runinference.errors import ModelLoadError
from runinference.files import ModelFile, load_error

if TYPE_CHECKING:
    import xgboost

__all__ = ["XgboostModel", "load"]

_SAVE = (
    "Save it with model.save_model('model.ubj'); a pickle or a joblib file has to be loaded for "
    "that, by somebody who trusts it"
)
_LABELS = {"binary:hinge", "binary:logistic", "multi:softmax", "multi:softprob"}
_PROBABILITIES = {"binary:logistic", "multi:softprob"}


@dataclasses.dataclass(frozen=True)
class XgboostModel:
    """A loaded model.

    Attributes:
        booster: the model itself.
        objective: what it was trained for, such as "binary:logistic".
        feature_count: how many features a row has.
        feature_names: in order; None where it was trained on arrays.
        categorical: for each feature, whether it is one of categories.
        categories_known: the same, where the file also holds which ones.
        iterations: the rounds that predict: all for ``(0, 0)``, else up to the best one.
        is_linear: whether it is no model of trees.
    """

    booster: xgboost.Booster
    objective: str
    feature_count: int
    feature_names: Sequence[str] | None
    categorical: Sequence[bool]
    categories_known: Sequence[bool]
    iterations: tuple[int, int]
    is_linear: bool


def load(file: ModelFile, predict_type: str) -> XgboostModel:
    """The model in a file.

    Args:
        file: its content, JSON or UBJSON.
        predict_type: what it will be asked for.

    Raises:
        ModelLoadError: damaged, of another format, or trained for what has no such output.
    """
    import xgboost

    if not file.data.startswith(b"{"):
        raise load_error(file, "an XGBoost model in JSON or UBJSON", _SAVE)
    try:
        booster = xgboost.Booster(model_file=bytearray(file.data))
        config = json.loads(booster.save_config())["learner"]
    except (xgboost.core.XGBoostError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        found = f"what xgboost {xgboost.__version__} cannot read: {reason}"
        raise load_error(file, "an XGBoost model in JSON or UBJSON", _SAVE, found=found) from error
    objective = config["objective"]["name"]
    possible = {"label": _LABELS, "probability": _PROBABILITIES}.get(predict_type)
    if possible is not None and objective not in possible:
        raise ModelLoadError(
            f"model file {file.path!r} was trained for {objective!r}, which has no "
            f"predict_type={predict_type!r}: that is for {', '.join(sorted(possible))}; "
            "predict_type='value' is what the model says itself"
        )
    categorical = [kind == "c" for kind in booster.feature_types or ()]
    categories = booster.get_categories(export_to_arrow=True).to_arrow() if any(categorical) else []
    is_linear = config["gradient_booster"]["name"] == "gblinear"
    has_best = booster.attr("best_iteration") is not None and not is_linear
    return XgboostModel(
        booster=booster,
        objective=objective,
        feature_count=booster.num_features(),
        feature_names=booster.feature_names,
        categorical=categorical,
        categories_known=[known is not None for _, known in categories],
        iterations=(0, booster.best_iteration + 1) if has_best else (0, 0),
        is_linear=is_linear,
    )
