"""The two handlers: rows of any kind, and pandas DataFrames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import numpy as np
import pyarrow as pa

from runinference.columns import matrix
from runinference.errors import ConfigurationError, ExampleError, FeatureError
from runinference.files import load_error, parse_sha256, read_model
from runinference.frames import FrameModelHandler
from runinference.handler import VectorModelHandler
from runinference_sklearn import arrays, features, model_files
from runinference_sklearn.model_files import ModelFileType, Trust

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SklearnModelHandlerNumpy", "SklearnModelHandlerPandas"]

ExampleT = TypeVar("ExampleT")

Method = Literal["predict", "predict_proba", "decision_function", "transform"]
_METHODS: tuple[str, ...] = get_args(Method)


class _SklearnModelHandler(VectorModelHandler[ExampleT, Any]):
    """What the two have in common: the model file and the method that is called."""

    def __init__(
        self,
        model_uri: str,
        model_file_type: ModelFileType | str | None = None,
        *,
        method: Method = "predict",
        inference_fn: Callable[[Any, Any, dict[str, Any] | None], Any] | None = None,
        trusted_types: Sequence[str] = (),
        allow_unsafe_pickle: bool = False,
        model_sha256: str | None = None,
    ) -> None:
        """Say which model to load, and what to ask it.

        Args:
            model_uri: path of the model file, local or of any scheme that Apache Beam can read.
            model_file_type: "skops", "joblib" or "pickle"; told by the file's content if not given.
            method: the model's method that makes predictions of a batch.
            inference_fn: a function to call instead of a method, with the model, the whole batch (a
                matrix, a list of texts or a DataFrame) and the inference_args; it returns one
                prediction per row, in order.
            trusted_types: names that the model file may use besides scikit-learn's own, each
                "package.module.Class".
            allow_unsafe_pickle: load a pickle or joblib file whatever it names and runs.
            model_sha256: the SHA-256 digest that the model file has to have, 64 hexadecimal digits.

        Raises:
            ConfigurationError: an option out of its range, or two that exclude each other.
        """
        if method not in _METHODS:
            raise ConfigurationError(
                f"method={method!r}: known are {', '.join(map(repr, _METHODS))}; "
                "inference_fn=... calls anything else"
            )
        if inference_fn is not None and method != "predict":
            raise ConfigurationError(
                f"method={method!r} and inference_fn exclude each other: the function says what is "
                "called"
            )
        if isinstance(trusted_types, str):
            raise ConfigurationError(
                f"trusted_types={trusted_types!r} is a string: write [{trusted_types!r}]"
            )
        trust = Trust(tuple(trusted_types), allow_unsafe_pickle)
        refusal = trust.refusal()
        if refusal is not None:
            raise ConfigurationError(refusal)
        self._model_uri = str(model_uri)
        self._model_sha256 = parse_sha256(model_sha256)
        self._model_file_type = model_files.file_type(model_file_type)
        self._method = method
        self._inference_fn = inference_fn
        self._trust = trust

    @property
    def model_path(self) -> str:  # type: ignore[override]  # set through update_model_path
        """The path of the model file."""
        return self._model_uri

    def update_model_path(self, model_path: str | None = None) -> None:
        """Load another model file from now on."""
        if model_path is not None:
            self._model_uri = str(model_path)

    def load_model(self) -> Any:
        """The model; its file is read once, so that what was hashed is what is loaded.

        Raises:
            ModelLoadError: absent, damaged, of another format or digest, with something in it that
                is not trusted, or a model without the method.
        """
        file = read_model(self._model_uri, self._model_sha256)
        model = model_files.load(file, self._model_file_type, self._trust)
        if self._inference_fn is None and not callable(getattr(model, self._method, None)):
            has = [method for method in _METHODS if callable(getattr(model, method, None))]
            remedy = f"It has {', '.join(has)}: say method={has[0]!r}." if has else "Is it a model?"
            found = f"a {features.describe(model)}"
            raise load_error(file, f"a model with {self._method}()", remedy, found=found)
        self.model_id, self.sha256 = file.model_id, file.sha256
        return model

    def predict(self, batch: Any, model: Any, inference_args: dict[str, Any] | None) -> Any:
        """What the method, or the function, answers for a batch."""
        if self._inference_fn is not None:
            return self._inference_fn(model, batch, inference_args)
        outputs = getattr(model, self._method)(batch, **(inference_args or {}))
        # A classifier of several outputs answers with a list of them, and not of predictions.
        return tuple(outputs) if isinstance(outputs, list) else outputs

    def feature_names(self, model: Any) -> Sequence[str] | None:
        """The columns of the frame that the model was trained on."""
        return features.feature_names(model)

    def set_threads(self, model: Any, threads: int) -> None:
        """Of the model's own ``n_jobs``, and of the linear algebra below it in this process."""
        from threadpoolctl import threadpool_limits

        threadpool_limits(threads)
        if hasattr(model, "get_params"):
            jobs = [n for n in model.get_params() if n == "n_jobs" or n.endswith("__n_jobs")]
            model.set_params(**dict.fromkeys(jobs, threads))

    def takes_nulls(self, model: Any) -> bool:
        """Whether the model says that its features may be missing."""
        return features.takes_nulls(model)

    def get_metrics_namespace(self) -> str:
        """As in Apache Beam."""
        return "BeamML_Sklearn"

    def _check_count(self, found: int, model: Any, error: type[ValueError], what: str) -> None:
        expected = features.feature_count(model)
        # A function may do to the batch what it likes before the model sees it.
        if self._inference_fn is None and expected is not None and found != expected:
            number = "1 feature" if found == 1 else f"{found} features"
            raise error(f"{what} {number}, but {features.describe(model)} takes {expected}")


class SklearnModelHandlerNumpy(_SklearnModelHandler[Any]):
    """Asks a scikit-learn model about rows of any kind.

    An example is whatever the model takes one row of: an array or a sequence of its features, a
    scalar, a text, a scipy sparse row (a matrix of one row). Sparse rows stay sparse, texts go to a
    vectorizer as a list.
    """

    def collate(self, examples: Sequence[Any], model: Any) -> Any:
        """The examples side by side: ``[examples, features]``, or a list of texts.

        Raises:
            ExampleError: an example that is no row, or rows of different shapes or kinds.
        """
        batch = arrays.stack(examples)
        if isinstance(batch, list) or batch.ndim == 1:
            return self._as_column(batch, model, ExampleError, "the examples have")
        if self._inference_fn is None and features.feature_count(model) and batch.ndim != 2:
            raise ExampleError(
                f"the examples are of shape {batch.shape[1:]}, but {features.describe(model)} "
                f"takes rows of shape ({features.feature_count(model)},)"
            )
        self._check_count(batch.shape[-1], model, ExampleError, "the examples have")
        return batch

    def collate_table(self, table: pa.Table, model: Any) -> Any:
        """A matrix of the columns; of a column of texts, a list.

        A model that was trained on a frame gets the columns in its order, and with their names.

        Raises:
            FeatureError: a column that is not numeric, or another number of features.
        """
        texts = _texts_of(table)
        if texts is not None:
            return self._as_column(texts, model, FeatureError, "the table has")
        names = features.feature_names(model)
        is_named = names is not None and sorted(names) == sorted(table.column_names)
        try:
            batch = matrix(table.select(names) if is_named else table)
        except FeatureError as error:
            raise FeatureError(f"{error}; sklearn-pandas takes columns of any type") from error
        self._check_count(batch.shape[1], model, FeatureError, "the table has")
        if is_named and self._inference_fn is None:
            import pandas as pd

            return pd.DataFrame(batch, columns=names, copy=False)
        return batch

    def examples_from(self, table: pa.Table, model: Any) -> Sequence[Any]:
        """The rows of a table as arrays, or the texts of its only column."""
        texts = _texts_of(table)
        return list(matrix(table)) if texts is None else texts

    def _as_column(self, values: Any, model: Any, error: type[ValueError], what: str) -> Any:
        """Scalars or texts, as the one feature of a model that has features."""
        if features.feature_count(model) is None:
            return values
        self._check_count(1, model, error, what)
        column = np.empty((len(values), 1), dtype=getattr(values, "dtype", object))
        column[:, 0] = values
        return column


class SklearnModelHandlerPandas(_SklearnModelHandler["pd.DataFrame"], FrameModelHandler[Any]):
    """Asks a scikit-learn model about pandas DataFrames.

    An example is a frame of one row or more, and has one prediction: of one row, that row's; of
    several rows, an array with one entry per row. Columns may stand in any order, and the model
    does not see those that it was not trained on. The result holds the frame as it came.
    """

    array_handler = "SklearnModelHandlerNumpy (sklearn-numpy)"

    def collate(self, examples: Sequence[pd.DataFrame], model: Any) -> pd.DataFrame:
        """One frame of all rows, with the columns in the model's order.

        Raises:
            ExampleError: an example that is no frame, or has no rows, or too few columns.
            FeatureError: a frame lacks a column that the model needs.
        """
        joined: pd.DataFrame = super().collate(examples, model)
        if self.frame_columns(model) is None:
            self._check_count(joined.shape[1], model, ExampleError, "the frames have")
        return joined

    def collate_table(self, table: pa.Table, model: Any) -> pd.DataFrame:
        """The columns as pandas makes them of Arrow's, in the model's order.

        Raises:
            FeatureError: an absent column, or another number of features.
        """
        if self.frame_columns(model) is None:
            self._check_count(table.num_columns, model, FeatureError, "the table has")
        frame: pd.DataFrame = super().collate_table(table, model)
        return frame

    def feature_names(self, model: Any) -> Sequence[str] | None:
        """The columns of the frame that the model was trained on, without those that it drops."""
        return features.used_names(model)

    def frame_columns(self, model: Any) -> Sequence[str] | None:
        """All where a function is called, which may want others than the model."""
        return None if self._inference_fn is not None else features.used_names(model)


def _texts_of(table: pa.Table) -> list[str] | None:
    """The values of a table's only column, where they are texts."""
    if table.num_columns != 1:
        return None
    column = table.column(0)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        return None
    texts: list[str] = column.to_pylist()
    return texts
