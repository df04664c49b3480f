"""What the author of a handler writes: how to load a model and how to ask it.

Two methods are the whole obligation, ``load_model`` and ``run_inference``; any object that has them
is a handler. :class:`ModelHandler` adds defaults for the optional ones, and
:class:`VectorModelHandler` cuts ``run_inference`` into the few small steps that most models need.

A handler's constructor takes what the model and its framework need. How to run it (batch sizes,
processes, time limits) is told to the transform, never to the handler.
"""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, Protocol, Self, TypeVar

from runinference.columns import examples_of
from runinference.config import beam_replacement
from runinference.outputs import BatchAxis, Outputs, read_outputs
from runinference.reporting import asking
from runinference.results import ExampleFailed, ExampleT, PredictionT, any_is
from runinference.sizes import num_bytes

__all__ = ["Handler", "ModelHandler", "VectorModelHandler"]

ModelT = TypeVar("ModelT")


class Handler(Protocol):
    """The whole obligation; an object of any class will do."""

    def load_model(self) -> Any:
        """The model, of any type; called once per process."""

    def run_inference(
        self, batch: Sequence[Any], model: Any, inference_args: dict[str, Any] | None = None
    ) -> Iterable[Any]:
        """One prediction per example, in order."""


class ProcessingFunctions:
    """Functions that run before and after inference, as fields of a copied handler."""

    _preprocess_fns: tuple[Callable[[Any], Any], ...] = ()
    _postprocess_fns: tuple[Callable[[Any], Any], ...] = ()
    _skips_batching: bool = False

    def with_preprocess_fn(self, fn: Callable[[Any], Any]) -> Self:
        """A copy whose examples go through ``fn`` first; the last function added runs first."""
        return self._with(_preprocess_fns=(fn, *self._preprocess_fns))

    def with_postprocess_fn(self, fn: Callable[[Any], Any]) -> Self:
        """A copy whose results go through ``fn``; the first function added runs first."""
        return self._with(_postprocess_fns=(*self._postprocess_fns, fn))

    def with_no_batching(self) -> Self:
        """A copy that takes elements that are batches already: sequences of examples.

        One element is one call of the model. Preprocess functions get the whole batch; the results
        are one element per example, postprocess functions get one each.
        """
        return self._with(_skips_batching=True)

    def get_preprocess_fns(self) -> Sequence[Callable[[Any], Any]]:
        """The functions of :meth:`with_preprocess_fn`, in the order in which they run."""
        return self._preprocess_fns

    def get_postprocess_fns(self) -> Sequence[Callable[[Any], Any]]:
        """The functions of :meth:`with_postprocess_fn`, in the order in which they run."""
        return self._postprocess_fns

    def should_skip_batching(self) -> bool:
        """Whether elements are batches already."""
        return self._skips_batching

    def _with(self, **fields: Any) -> Self:
        changed = copy.copy(self)
        vars(changed).update(fields)
        return changed


# What only says how to run and has no part in which model is loaded: see `loader.fingerprint`.
RUN_FIELDS = frozenset(
    {"_preprocess_fns", "_postprocess_fns", "_skips_batching", "registered_name"}
)


class ModelHandler(ProcessingFunctions, Generic[ExampleT, PredictionT, ModelT]):
    """Loads a model and asks it. A subclass need not call ``super().__init__()``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):
            cls.__init__ = _refusing_run_options(cls.__init__)  # type: ignore[method-assign]  # wrapped

    model_id: str | None = None
    """Names the loaded model in results and metrics; set it in ``load_model`` where more is known
    than a path (``runinference.files.read_model`` gives a path with a digest)."""

    sha256: str | None = None
    """The digest of the model's file, for observers; set it in ``load_model`` beside the id."""

    model_path: str | None = None
    """Where the model is loaded from; a subclass may make it a property."""

    imports: Sequence[str] = ()
    """What ``load_model`` imports: done once for all processes of a model that runs apart."""

    threads: int | None = None
    """How many threads one call may use, where told; set before ``load_model``."""

    def load_model(self) -> ModelT:
        """The model, of any type; called once per process, on a copy of the handler.

        Raises:
            ModelLoadError: the model cannot be used; names the path and what to do.
        """
        raise TypeError(f"{type(self).__qualname__} has to define load_model()")

    def run_inference(
        self,
        batch: Sequence[ExampleT],
        model: ModelT,
        inference_args: dict[str, Any] | None = None,
    ) -> Iterable[PredictionT]:
        """One prediction per example, in order: a list, a generator, or a structure of leaves that
        have the examples along their first axis (an array, a dict of arrays).

        Args:
            batch: at least one example; not to be changed.
            model: what ``load_model`` returned.
            inference_args: the argument of the same name of ``RunInference``.
        """
        raise TypeError(f"{type(self).__qualname__} has to define run_inference()")

    def close_model(self, model: ModelT) -> None:
        """Release what the model holds besides memory: connections, files, threads."""

    def set_threads(self, model: ModelT, threads: int) -> None:
        """Let the model's library use so many threads in one call; called after a load."""

    def feature_names(self, model: ModelT) -> Sequence[str] | None:
        """The table columns that the model was trained on, in order; None where it knows none."""
        return None

    def takes_nulls(self, model: ModelT) -> bool:
        """Whether a table's features may have nulls; by default they are an error."""
        return False

    def examples_from(self, table: Any, model: ModelT) -> Sequence[ExampleT]:
        """The rows of a table as examples: one column gives its values, several give dicts, and
        lists of numbers are arrays.

        Args:
            table: a ``pyarrow.Table`` of the columns that the model sees.
            model: what ``load_model`` returned.
        """
        return examples_of(table)

    def get_num_bytes(self, batch: Sequence[ExampleT]) -> int:
        """Bytes of data in a batch, for metrics; in constant time per example."""
        return num_bytes(batch)

    def get_metrics_namespace(self) -> str:
        """Namespace of the metrics, where RunInference is not given one."""
        return "RunInference"

    def get_resource_hints(self) -> Mapping[str, Any]:
        """Beam resource hints of the step that runs the model."""
        return {}

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Default batching, under the names of ``beam.BatchElements``."""
        return {}

    def validate_inference_args(self, inference_args: dict[str, Any] | None) -> None:
        """Raise for arguments that the model cannot take; called when the pipeline is built."""

    def update_model_path(self, model_path: str | None = None) -> None:
        """Load from another path from now on."""
        if model_path is not None:
            self.model_path = model_path

    def override_metrics(self, metrics_namespace: str = "") -> bool:
        """True where the handler reports its own metrics and RunInference is to report none."""
        return False


class VectorModelHandler(ModelHandler[ExampleT, Any, ModelT]):
    """A handler of a model that predicts many examples in one call.

    ``run_inference`` is ``prepare``, ``collate``, ``predict`` and ``split`` in a row; usually
    ``load_model``, ``collate`` and ``predict`` are what an author writes. For tables,
    ``collate_table`` takes the place of ``prepare`` and ``collate`` where it is defined.
    """

    batch_axis: BatchAxis = 0
    """The axis of the outputs that counts the examples, for all leaves or per leaf."""

    outputs: Sequence[str] | None = None
    """The leaves of the model's outputs to keep; all where None."""

    @property
    def collate_table(self) -> Callable[[Any, ModelT], Any] | None:
        """``collate_table(table, model) -> batch``: the batch that ``predict`` takes, from an Arrow
        table of the columns that the model sees, without a Python object per row.

        A subclass defines it as a method; where it depends on options, as a property.
        """
        return None

    @property
    def length(self) -> Callable[[Any], int] | None:
        """``length(prepared_example) -> int``: how long a prepared example is, for models whose
        batches are as wide as their longest example; batches are sorted and cut by it.

        A subclass defines it as a method; where it depends on options, as a property.
        """
        return None

    def prepare(self, examples: Sequence[ExampleT], model: ModelT) -> Sequence[Any]:
        """Decode or tokenise: one prepared example each, in order. The default changes nothing.

        ``ExampleFailed(error)`` in the place of one that cannot be prepared keeps it from the model
        and leaves the others alone.
        """
        return examples

    def collate(self, examples: Sequence[Any], model: ModelT) -> Any:
        """One batch for ``predict``, made of prepared examples (at least one)."""
        raise TypeError(f"{type(self).__qualname__} has to define collate()")

    def predict(self, batch: Any, model: ModelT, inference_args: dict[str, Any] | None) -> Any:
        """The model's outputs for a collated batch: an array, or a structure of arrays."""
        raise TypeError(f"{type(self).__qualname__} has to define predict()")

    def split(self, outputs: Any, examples: Sequence[Any]) -> list[Any]:
        """One prediction per prepared example, in order; none holds on to the batch's memory."""
        read = self.read_outputs(outputs, len(examples))
        return read.rows(self.output_lengths(read, examples))

    def output_lengths(
        self, outputs: Outputs, examples: Sequence[Any]
    ) -> Mapping[str, Sequence[int]] | None:
        """For the leaves that hold one entry per position of an example, each example's own length.

        Such leaves are cut to it. They are to be told for every batch, also where none was padded,
        so that a table's prediction column has one type throughout.
        """
        return None

    def run_inference(
        self, batch: Sequence[ExampleT], model: ModelT, inference_args: dict[str, Any] | None = None
    ) -> list[Any]:
        """The steps in a row: one prediction per example, in order."""
        return self.run_prepared(self.prepare(batch, model), model, inference_args)

    def run_prepared(
        self, examples: Sequence[Any], model: ModelT, inference_args: dict[str, Any] | None
    ) -> list[Any]:
        """The steps after ``prepare``: one prediction per prepared example, in order."""
        if any_is(examples, ExampleFailed):
            fit = [example for example in examples if not isinstance(example, ExampleFailed)]
            made = iter(self.run_prepared(fit, model, inference_args) if fit else ())
            return [e if isinstance(e, ExampleFailed) else next(made) for e in examples]
        outputs = self.predict(asking(self.collate(examples, model)), model, inference_args)
        return self.split(outputs, examples)

    def read_outputs(self, outputs: Any, count: int) -> Outputs:
        """Check the outputs of ``count`` examples against ``batch_axis`` and ``outputs``."""
        return read_outputs(
            outputs,
            count,
            source=f"{type(self).__qualname__}.predict()",
            batch_axis=self.batch_axis,
            select=self.outputs,
        )


def _refusing_run_options(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that answers Beam's keywords for running a model with what replaces them."""
    parameters = inspect.signature(init).parameters

    @functools.wraps(init)
    def __init__(self: object, *args: Any, **kwargs: Any) -> None:
        for option in kwargs:
            replacement = None if option in parameters else beam_replacement(option)
            if replacement is not None:
                raise TypeError(
                    f"{type(self).__qualname__} has no option {option!r}: a handler says what the "
                    f"model is, not how to run it; write {replacement}"
                )
        init(self, *args, **kwargs)

    return __init__
