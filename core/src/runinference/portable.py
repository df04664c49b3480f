"""RunRowInference told by plain values alone, for Beam YAML and the SDKs of other languages."""

# No postponed annotations: Beam YAML reads the types of the signature.

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import apache_beam as beam
from apache_beam.typehints import row_type, schemas
from apache_beam.yaml import json_utils

from runinference.config import BatchConfig, Execution
from runinference.errors import ConfigurationError
from runinference.failures import Failure
from runinference.handler import Handler
from runinference.hints import did_you_mean, listed
from runinference.row_inference import RunRowInference

__all__ = ["PROVIDERS", "run_inference"]

PROVIDERS = str(Path(__file__).with_name("beam_yaml_providers.yaml"))
"""A file of providers that Beam YAML can include; it offers ``type: RunInference``."""


def run_inference(
    handler: str | Callable[..., Handler],
    *,
    features: Sequence[str] | None = None,
    output: str = "prediction",
    output_type: Any = None,
    keep: Sequence[str] | None = None,
    batching: Mapping[str, Any] | None = None,
    execution: Mapping[str, Any] | None = None,
    inference_args: Mapping[str, Any] | None = None,
    metrics_namespace: str | None = None,
    watch_model_pattern: str | None = None,
    refresh_interval_s: float = 60.0,
    error_handling: Mapping[str, Any] | None = None,
    **options: Any,
) -> beam.PTransform[Any, Any]:
    """Predicts every row with a model: the fields that stay, and the prediction behind them.

    Args:
        handler: the handler's name, such as ``sklearn-numpy``; or, from another language, a
            callable that is given the options and returns one.
        features: the fields that the model sees, in its order; by default those that it was
            trained on, where it knows them, else every numeric field that ``keep`` does not name.
        output: the name of the prediction's field.
        output_type: of that field, as a JSON schema tells types: ``number``, ``integer``,
            ``string``, ``boolean``, or ``{type: array, items: {type: number}}``. Sinks with a
            schema and other languages need it.
        keep: the fields that stay; all by default.
        batching: fields of :class:`BatchConfig`.
        execution: fields of :class:`Execution`.
        inference_args: extra arguments of every call of the model.
        metrics_namespace: instead of the handler's own.
        watch_model_pattern: files, of which the one that was changed last is the model.
        refresh_interval_s: seconds between two looks for it.
        error_handling: ``output`` names the output that takes the rows which fail, in Beam YAML's
            form (``element``, ``msg``, ``stack``); ``threshold`` is the share of rows that may.
        options: what the handler's constructor, or the callable, takes.

    Raises:
        ConfigurationError: values that are not of the form above, or cannot work together.
        HandlerLookupError: a name that leads to no handler.
        TypeError: an option that neither this nor the handler takes.
    """
    told = {name: _plain(value) for name, value in options.items()}
    made, told = (handler, told) if isinstance(handler, str) else (handler(**told), {})
    transform = RunRowInference(
        made,
        features=features,
        output=output,
        output_type=Any if output_type is None else _python_type(output_type),
        keep=keep,
        batching=_configured(BatchConfig, "batching", batching),
        execution=_configured(Execution, "execution", execution),
        inference_args=None if inference_args is None else _plain(inference_args),
        metrics_namespace=metrics_namespace,
        watch_model_pattern=watch_model_pattern,
        refresh_interval_s=refresh_interval_s,
        **told,
    )
    if error_handling is None:
        return transform
    errors = _plain(error_handling)
    _check_names("error_handling", errors, ["output", "threshold"])
    if not isinstance(errors.get("output"), str):
        raise ConfigurationError("error_handling: output has to name the output of failed rows")
    failing = transform.with_exception_handling(threshold=errors.get("threshold", 1.0))
    return _WithErrorOutput(failing, errors["output"])


class _WithErrorOutput(beam.PTransform[Any, Any]):
    """Gives failed rows back under a name, in the form that Beam YAML knows."""

    def __init__(self, transform: RunRowInference, output: str) -> None:
        super().__init__()
        self._transform = transform
        self._output = output

    def expand(self, rows: beam.PCollection[Any]) -> dict[str, beam.PCollection[Any]]:
        """The predicted rows under ``good``, the others under the name."""
        results, dead = rows | self._transform
        element_type: Any = rows.element_type
        kind = row_type.RowTypeConstraint.from_fields(
            [("element", element_type), ("msg", str), ("stack", str)]
        )
        errors = dead.failed_inferences | beam.Map(_as_error).with_output_types(kind)
        return {"good": results, self._output: errors}


def _as_error(failure: Failure) -> beam.Row:
    text = f"{failure.type}: {failure.message}"
    return beam.Row(element=failure.example, msg=text, stack=failure.traceback)


def _configured(kind: type[Any], option: str, values: Mapping[str, Any] | None) -> Any:
    if values is None:
        return None
    values = _plain(values)
    if not isinstance(values, dict):
        raise ConfigurationError(f"{option}: names and values are needed, not {values!r}")
    _check_names(option, values, [field.name for field in dataclasses.fields(kind)])
    return kind(**values)


def _check_names(option: str, values: Mapping[str, Any], known: Sequence[str]) -> None:
    for name in values:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigurationError(f"{option} has no {name!r}; {hint}it has {listed(known)}")


def _python_type(json_type: Any) -> Any:
    told = _plain(json_type)
    try:
        kind = json_utils.json_type_to_beam_type({"type": told} if isinstance(told, str) else told)
    except (ValueError, KeyError) as error:
        raise ConfigurationError(
            f"output_type={told!r}: number, integer, string, boolean, bytes, or "
            "{type: array, items: {type: number}} is needed"
        ) from error
    return schemas.typing_from_runner_api(kind)


def _plain(value: Any) -> Any:
    """Rows, as which other languages send names with values, and what is in them, as dicts."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [_plain(one) for one in value]
    return value
