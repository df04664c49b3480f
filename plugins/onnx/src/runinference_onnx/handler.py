"""Examples that are arrays, or arrays by name, and tables: one call of ONNX Runtime each batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from runinference.columns import array_of, matrix
from runinference.errors import ConfigurationError, ExampleError, FeatureError
from runinference.files import parse_sha256, read_model
from runinference.handler import VectorModelHandler
from runinference.hints import listed
from runinference.outputs import BatchAxis
from runinference.policy import model_code_refusal
from runinference.stacking import kind_of, stack

if TYPE_CHECKING:
    from runinference_onnx.inputs import ModelInput
    from runinference_onnx.sessions import OnnxModel

__all__ = ["OnnxModelHandlerNumpy"]

Arrays = dict[str, np.ndarray[Any, Any]]


class OnnxModelHandlerNumpy(VectorModelHandler[Any, "OnnxModel"]):
    """Asks an ONNX model about arrays.

    An example is what the model's input takes one of, an array, a number or a text; for a model of
    several inputs, a dict with one of them each. Numbers are converted to the type that the model
    asks for, unless that would change them. The prediction is the model's output, or a dict of them
    where it has several or ``outputs`` names some.

    Of a table, the columns are the rows of the only input, side by side; for a model of several
    inputs each is the input of its name.

    A model that was exported for a fixed number of examples is called with so many, the last call
    filled up with copies of its last example.
    """

    imports = ("onnxruntime",)

    def __init__(
        self,
        model_uri: str,
        *,
        providers: Sequence[str] = ("CPUExecutionProvider",),
        provider_options: Mapping[str, Mapping[str, str]] | None = None,
        custom_op_libraries: Sequence[str] = (),
        outputs: Sequence[str] | None = None,
        batch_axis: BatchAxis = 0,
        model_sha256: str | None = None,
    ) -> None:
        """Say which model to load, and what runs it.

        Args:
            model_uri: path of the model file, local or of any scheme that Apache Beam can read.
            providers: what runs the model, the preferred first, in ONNX Runtime's names, such as
                "CUDAExecutionProvider"; one that is not there is an error when the model is loaded.
            provider_options: ONNX Runtime's options of a provider, by its name.
            custom_op_libraries: paths of shared libraries with operators that the model needs;
                their code runs with all that the worker may do.
            outputs: the names of the outputs to compute and keep; all by default.
            batch_axis: the axis of the outputs that counts the examples, for all outputs or by
                name; None for an output that is the same for all examples.
            model_sha256: the SHA-256 digest that the model's file has to have, 64 hexadecimal
                digits.

        Raises:
            ConfigurationError: options that cannot work.
        """
        for name, value in (
            ("providers", providers),
            ("custom_op_libraries", custom_op_libraries),
            ("outputs", outputs),
        ):
            if isinstance(value, str):
                raise ConfigurationError(f"{name}={value!r} is a string: write [{value!r}]")
        if not providers:
            raise ConfigurationError("providers is empty: name one, or leave the option out")
        for provider in provider_options or {}:
            if provider not in providers:
                raise ConfigurationError(
                    f"provider_options is for {provider!r}, which is not among providers="
                    f"{list(providers)!r}"
                )
        refusal = model_code_refusal("custom_op_libraries") if custom_op_libraries else None
        if refusal is not None:
            raise ConfigurationError(refusal)
        self.model_path = str(model_uri)
        self.providers = tuple(providers)
        self.provider_options = dict(provider_options or {})
        self.custom_op_libraries = tuple(custom_op_libraries)
        self.outputs = outputs
        self.batch_axis = batch_axis
        self.model_sha256 = parse_sha256(model_sha256)

    def load_model(self) -> OnnxModel:
        """The session, with the inputs and outputs that it tells.

        Raises:
            ModelLoadError: the file or a provider cannot be used.
        """
        from runinference_onnx.sessions import open_model

        assert self.model_path is not None
        file = read_model(self.model_path, self.model_sha256)
        model = open_model(
            file,
            providers=self.providers,
            provider_options=self.provider_options,
            custom_op_libraries=self.custom_op_libraries,
            threads=self.threads,
        )
        self.model_id, self.sha256 = file.model_id, file.sha256
        return model

    def collate(self, examples: Sequence[Any], model: OnnxModel) -> Arrays:
        """An array for each input, with the examples along its first axis.

        Raises:
            ExampleError: examples that are not what the model's inputs take, or differ in shape.
        """
        if not isinstance(examples[0], Mapping):
            only = _only_input(model)
            if only is None:
                raise ExampleError(
                    f"example 0 is {kind_of(examples[0])}, but the model has the inputs "
                    f"{_listed(model)}: give a dict with a value for each"
                )
            return {only.name: _fitted(only, stack(examples), ExampleError, "the examples are")}
        names = list(examples[0])
        for position, example in enumerate(examples):
            if not isinstance(example, Mapping) or example.keys() != examples[0].keys():
                given = list(example) if isinstance(example, Mapping) else kind_of(example)
                raise ExampleError(
                    f"example {position} is {given}, while example 0 is {names}: give each a value "
                    "for the same inputs"
                )
        made = {}
        for name in names:
            if name not in model.inputs:
                raise ExampleError(f"the model has no input {name!r}; it has {_listed(model)}")
            stacked = stack([example[name] for example in examples])
            one = model.inputs[name]
            made[name] = _fitted(one, stacked, ExampleError, f"{name!r} of the examples is")
        return made

    def collate_table(self, table: pa.Table, model: OnnxModel) -> Arrays:
        """An array for each input, of the columns.

        Raises:
            FeatureError: columns that are not what the model's inputs take.
        """
        only = _only_input(model)
        if only is not None and not _is_text(only):
            return {only.name: _fitted(only, matrix(table), FeatureError, "the columns are")}
        made = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            one = only or model.inputs.get(name)
            if one is None:
                raise FeatureError(f"the model has no input {name!r}; it has {_listed(model)}")
            values = _texts(column, name) if _is_text(one) else array_of(column, name)
            made[one.name] = _fitted(one, values, FeatureError, f"column {name!r} is")
        return made

    def examples_from(self, table: pa.Table, model: OnnxModel) -> Sequence[Any]:
        """The rows as examples: arrays, or dicts for a model of several inputs."""
        arrays = self.collate_table(table, model)
        if _only_input(model) is not None:
            return list(next(iter(arrays.values())))
        return [dict(zip(arrays, row, strict=True)) for row in zip(*arrays.values(), strict=True)]

    def feature_names(self, model: OnnxModel) -> Sequence[str] | None:
        """The inputs where there are several; None for one, which takes any columns."""
        return None if _only_input(model) is not None else list(model.inputs)

    def predict(
        self, batch: Arrays, model: OnnxModel, inference_args: dict[str, Any] | None
    ) -> Any:
        """The only output, or a dict of several or of those that ``outputs`` names.

        Args:
            batch: what ``collate`` or ``collate_table`` made.
            model: what ``load_model`` returned.
            inference_args: further inputs by name, the same for all examples.

        Raises:
            ExampleError: an input is missing, or the model cannot take the batch.
            ConfigurationError: an argument that is no input, or not of its type.
        """
        extra = {}
        for name, value in (inference_args or {}).items():
            if name not in model.inputs:
                raise ConfigurationError(
                    f"inference_args has {name!r}; the model has the inputs {_listed(model)}"
                )
            try:
                extra[name] = model.inputs[name].converted(np.asarray(value))
            except ValueError as error:
                raise ConfigurationError(
                    f"inference_args: {name!r} is {error}, but the model's input is "
                    f"{model.inputs[name]}"
                ) from error
        for name in model.inputs:
            if name not in batch and name not in extra:
                raise ExampleError(
                    f"the model's input {name!r} is missing: give it in each example, or for all "
                    f"alike in inference_args; it has {_listed(model)}"
                )
        # all of them where one is asked for that is not there: the error then names them
        is_known = self.outputs is not None and set(self.outputs) <= set(model.output_names)
        names = self.outputs if self.outputs is not None and is_known else model.output_names
        found = self._in_calls(batch, extra, names, model)
        if self.outputs is None and len(names) == 1:
            return found[0]
        return dict(zip(names, found, strict=True))

    def _in_calls(
        self, batch: Arrays, extra: Arrays, names: Sequence[str], model: OnnxModel
    ) -> list[Any]:
        count, size = len(next(iter(batch.values()))), model.batch_size
        if size is None or size == count:
            return _call(batch | extra, names, model)
        if self.batch_axis != 0:
            raise ConfigurationError(
                f"the model takes {size} examples in one call and {count} came, which batch_axis="
                f"{self.batch_axis!r} does not go with: export it with a dynamic batch axis"
            )
        calls = []
        for start in range(0, count, size):
            rows = np.minimum(np.arange(start, start + size), count - 1)
            piece = {name: array[rows] for name, array in batch.items()}
            calls.append(_call(piece | extra, names, model))
        return [_joined(parts, count) for parts in zip(*calls, strict=True)]

    def get_metrics_namespace(self) -> str:
        """As in Apache Beam."""
        return "BeamML_Onnx"


def _call(feed: Arrays, names: Sequence[str], model: OnnxModel) -> list[Any]:
    try:
        outputs: list[Any] = model.session.run(list(names), feed)
        return outputs
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        if "Failed to allocate memory" in reason or "bad_alloc" in reason:
            raise MemoryError(reason) from error
        given = ", ".join(f"{n!r} ({a.dtype.name} {list(a.shape)})" for n, a in feed.items())
        raise ExampleError(
            f"the model, which has the inputs {_listed(model)}, cannot take {given}: {reason}"
        ) from error


def _joined(parts: Sequence[Any], count: int) -> Any:
    if isinstance(parts[0], list):
        return [value for part in parts for value in part][:count]
    return np.concatenate(parts)[:count]


def _only_input(model: OnnxModel) -> ModelInput | None:
    return next(iter(model.inputs.values())) if len(model.inputs) == 1 else None


def _fitted(
    one: ModelInput, array: np.ndarray[Any, Any], error: type[ValueError], what: str
) -> np.ndarray[Any, Any]:
    try:
        return one.fitted(array)
    except ValueError as problem:
        raise error(f"{what} {problem}, but the model's input is {one}") from problem


def _is_text(one: ModelInput) -> bool:
    return one.dtype == np.dtype(object)


def _texts(column: pa.ChunkedArray, name: str) -> np.ndarray[Any, Any]:
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise FeatureError(f"column {name!r} is of type {column.type}, not of texts")
    return np.array(column.to_pylist(), dtype=object)


def _listed(model: OnnxModel) -> str:
    return ", ".join(map(str, model.inputs.values())) or listed([])
