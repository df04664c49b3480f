"""The two handlers: rows of numbers, and pandas DataFrames with categories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
import pyarrow as pa

from runinference.columns import matrix
from runinference.errors import ConfigurationError, ExampleError, FeatureError
from runinference.files import parse_sha256, read_model
from runinference.frames import FrameModelHandler
from runinference.handler import VectorModelHandler
from runinference.stacking import stack

if TYPE_CHECKING:
    import pandas as pd

    from runinference_xgboost.models import XgboostModel

__all__ = ["XgboostModelHandlerNumpy", "XgboostModelHandlerPandas"]

ExampleT = TypeVar("ExampleT")

PredictType = Literal["value", "label", "probability", "margin", "leaf", "contributions"]
_PREDICT_TYPES: tuple[str, ...] = get_args(PredictType)
_ARGUMENTS = ("iteration_range", "strict_shape")


class _XgboostModelHandler(VectorModelHandler[ExampleT, "XgboostModel"]):
    """What the two have in common: the model file, and what is asked of the model."""

    imports = ("xgboost",)

    def __init__(
        self,
        model_uri: str,
        *,
        predict_type: PredictType = "value",
        missing: float = float("nan"),
        model_sha256: str | None = None,
    ) -> None:
        """Say which model to load, and what to ask it.

        Args:
            model_uri: path of the model file, local or of any scheme that Apache Beam can read.
            predict_type: "value" is what the objective makes of the trees' sum, as
                ``Booster.predict``: a probability for "binary:logistic", one for each class for
                "multi:softprob", else a number; "label" the number of the likeliest class, and
                "probability" one for each class, as ``XGBClassifier`` has them; "margin" the sum
                itself; "leaf" the leaf that each tree leads to; "contributions" each feature's
                share in the margin (SHAP values), and the bias behind them.
            missing: the number that stands for an absent value, besides nulls and NaN.
            model_sha256: the SHA-256 digest that the model's file has to have, 64 hexadecimal
                digits.

        Raises:
            ConfigurationError: an output that is none.
        """
        if predict_type not in _PREDICT_TYPES:
            raise ConfigurationError(
                f"predict_type={predict_type!r}: known are {', '.join(map(repr, _PREDICT_TYPES))}"
            )
        self.model_path = str(model_uri)
        self.predict_type = predict_type
        self.missing = missing
        self.model_sha256 = parse_sha256(model_sha256)

    def load_model(self) -> XgboostModel:
        """The model; its file is read once, so that what was hashed is what is loaded.

        Raises:
            ModelLoadError: absent, damaged, of another format, or without the output.
        """
        from runinference_xgboost.models import load

        assert self.model_path is not None
        file = read_model(self.model_path, self.model_sha256)
        model = load(file, self.predict_type)
        self.model_id, self.sha256 = file.model_id, file.sha256
        return model

    def set_threads(self, model: XgboostModel, threads: int) -> None:
        """Of the model's own predictions."""
        model.booster.set_param({"nthread": threads})

    def feature_names(self, model: XgboostModel) -> Sequence[str] | None:
        """The columns of the frame that the model was trained on."""
        return model.feature_names

    def takes_nulls(self, model: XgboostModel) -> bool:
        """Trees send absent values their own way."""
        return not model.is_linear

    def validate_inference_args(self, inference_args: dict[str, Any] | None) -> None:
        """Refuse what XGBoost's prediction has no use for.

        Raises:
            ConfigurationError: another argument than ``iteration_range`` and ``strict_shape``.
        """
        for name in inference_args or {}:
            if name not in _ARGUMENTS:
                raise ConfigurationError(
                    f"inference_args has {name!r}; known are {' and '.join(map(repr, _ARGUMENTS))}"
                )

    def predict(
        self, batch: Any, model: XgboostModel, inference_args: dict[str, Any] | None
    ) -> Any:
        """The output that was asked for, one entry per row.

        A model that was stopped early predicts with the rounds up to its best one, unless
        ``inference_args`` has an ``iteration_range``.

        Raises:
            ExampleError: values that are no numbers.
        """
        arguments = {"iteration_range": model.iterations, **(inference_args or {})}
        try:
            found = self._ask(batch, model, arguments)
        except ValueError as error:  # of a frame's types; a count was looked at before
            raise ExampleError(str(error).partition("\n")[0]) from error
        if self.predict_type == "label":
            if found.ndim == 2 and model.objective.startswith("multi:"):
                return found.argmax(axis=1)
            is_class = model.objective == "multi:softmax"
            return found.astype(np.int64) if is_class else (found > 0.5).astype(np.int64)
        if self.predict_type == "probability" and found.ndim == 1:
            return np.stack([1 - found, found], axis=1)
        return found

    def _ask(self, batch: Any, model: XgboostModel, arguments: dict[str, Any]) -> Any:
        is_margin = self.predict_type == "margin"
        if not model.is_linear and self.predict_type not in ("leaf", "contributions"):
            return model.booster.inplace_predict(
                batch,
                predict_type="margin" if is_margin else "value",
                missing=self.missing,
                validate_features=False,
                **arguments,
            )
        import xgboost

        data = xgboost.DMatrix(
            batch, missing=self.missing, enable_categorical=True, nthread=self.threads
        )
        return model.booster.predict(
            data,
            output_margin=is_margin,
            pred_leaf=self.predict_type == "leaf",
            pred_contribs=self.predict_type == "contributions",
            validate_features=False,
            **arguments,
        )

    def get_metrics_namespace(self) -> str:
        """As in Apache Beam."""
        return "BeamML_XGBoost"


class XgboostModelHandlerNumpy(_XgboostModelHandler[Any]):
    """Asks an XGBoost model about rows of numbers.

    An example is an array or a sequence of the model's features in its order; None and NaN are
    absent values, and a category is its number.
    """

    def collate(self, examples: Sequence[Any], model: XgboostModel) -> Any:
        """The examples side by side: ``[examples, features]``.

        Raises:
            ExampleError: an example that is no row of so many numbers.
        """
        batch = stack(examples)
        if batch.shape[1:] != (model.feature_count,):
            raise ExampleError(
                f"the examples are of shape {batch.shape[1:]}, but the model takes rows of "
                f"{model.feature_count} features"
            )
        if batch.dtype.kind in "biuf":
            return batch
        try:
            return batch.astype(np.float64)  # None becomes NaN
        except (TypeError, ValueError) as error:
            raise ExampleError(f"the examples hold what is no number: {error}") from error

    def collate_table(self, table: pa.Table, model: XgboostModel) -> Any:
        """A matrix of the columns, in the model's order.

        Raises:
            FeatureError: a column that is not numeric, or another number of features.
        """
        names = model.feature_names
        if names is not None and sorted(names) == sorted(table.column_names):
            table = table.select(list(names))
        try:
            batch = matrix(table, np.float32)  # XGBoost has all numbers in this type
        except FeatureError as error:
            raise FeatureError(f"{error}; xgboost-pandas takes categories") from error
        _check_count(batch.shape[1], model)
        return batch

    def examples_from(self, table: pa.Table, model: XgboostModel) -> Sequence[Any]:
        """The rows of a table as arrays."""
        return list(self.collate_table(table, model))


class XgboostModelHandlerPandas(
    _XgboostModelHandler["pd.DataFrame"], FrameModelHandler["XgboostModel"]
):
    """Asks an XGBoost model about pandas DataFrames.

    An example is a frame of one row or more, and has one prediction: of one row, that row's; of
    several rows, an array with one entry per row. Columns may stand in any order. Texts and
    categories are looked up among those that the model was trained on.
    """

    array_handler = "XgboostModelHandlerNumpy (xgboost-numpy)"

    def predict(
        self, batch: pd.DataFrame, model: XgboostModel, inference_args: dict[str, Any] | None
    ) -> Any:
        """The output that was asked for, one entry per row.

        Raises:
            ExampleError: columns that hold neither numbers nor categories.
            FeatureError: another number of features, or categories that the model does not know.
        """
        import pandas as pd

        _check_count(batch.shape[1], model)
        for position, is_categorical in enumerate(model.categorical):
            name, kind = batch.columns[position], batch.dtypes.iloc[position]
            if not is_categorical or pd.api.types.is_numeric_dtype(kind):
                continue
            if not model.categories_known[position]:
                raise FeatureError(
                    f"column {name!r} holds categories, and the model file does not tell which one "
                    "is which number: train and save the model with xgboost 3.1 or later, or give "
                    "the numbers"
                )
            if not isinstance(kind, pd.CategoricalDtype):
                batch = batch.assign(**{name: batch[name].astype("category")})
        return super().predict(batch, model, inference_args)


def _check_count(found: int, model: XgboostModel) -> None:
    if found != model.feature_count:
        raise FeatureError(f"features were given: {found}; the model takes {model.feature_count}")
