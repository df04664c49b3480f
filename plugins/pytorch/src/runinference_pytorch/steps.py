"""Load a model, and the steps from examples or a table to its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from runinference.errors import OutputStructureError
from runinference.files import read_model
from runinference.handler import VectorModelHandler
from runinference.outputs import Outputs
from runinference_pytorch import options
from runinference_pytorch.building import build_model
from runinference_pytorch.devices import device_of, resolve_device
from runinference_pytorch.padding import Padding, length_of, paddings_of
from runinference_pytorch.sequences import Probe, SequenceFinder, cannot_tell

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import nn

    from runinference_pytorch.batches import TensorBatch
    from runinference_pytorch.collating import Columns

__all__ = ["TensorSteps"]

# What a loaded handler learns about its model, and a copy or a pickle of it does not take along.
_LEARNED = ("_sequences", "_writes_to_input")


class TensorSteps(VectorModelHandler[Any, "nn.Module"]):
    """Loads, collates, predicts and trims; a subclass says which tensors its examples hold.

    The attributes are options of :class:`PytorchModelHandler`, whose constructor describes them.
    """

    device: str = "cpu"
    dtype: str | Mapping[str, str] | None = None
    inference_fn: Callable[..., Any] | None = None
    is_program: bool = False
    load_model_args: Mapping[str, Any] = MappingProxyType({})
    method: str | None = None
    model_class: str | Callable[..., Any] | None = None
    model_params: Mapping[str, Any] = MappingProxyType({})
    model_sha256: str | None = None
    padding: Padding | Mapping[str, Padding] | None = None
    imports = ("torch",)
    state_dict_key: str | None = None

    _is_keyed = False
    _sequences: SequenceFinder | None = None
    _writes_to_input: bool | None = None

    def load_model(self) -> nn.Module:
        """The model on its device, in evaluation mode, its weights without gradients.

        Raises:
            ModelLoadError: the file, the class or the device cannot be used.
        """
        from runinference_pytorch import model_files, programs, weights

        device = resolve_device(self.device)
        assert self.model_path is not None
        file = read_model(self.model_path, self.model_sha256)
        if self.is_program:
            model = programs.load_program(file, self.load_model_args, device)
        else:
            assert self.model_class is not None
            state = model_files.read_state_dict(file, self.state_dict_key, self.load_model_args)
            model = build_model(self.model_class, self.model_params)
            weights.load_state_dict(model, state, file)
            model = model.to(device).eval()
        options.check_method(self.method, model)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self.model_id, self.sha256 = file.model_id, file.sha256
        return model

    def set_threads(self, model: nn.Module, threads: int) -> None:
        """Of torch's operators on the CPU, in this process."""
        import torch

        torch.set_num_threads(threads)

    def predict(self, batch: Any, model: nn.Module, inference_args: dict[str, Any] | None) -> Any:
        """The model's output for a batch, as it comes: on its device, in any structure.

        Args:
            batch: what ``collate`` or ``collate_table`` made; or a tensor, or tensors by name.
            model: what ``load_model`` returned.
            inference_args: further arguments of the model, by name.

        Raises:
            ExampleError: the model cannot take a batch of this shape or dtype.
        """
        from runinference_pytorch.batches import TensorBatch

        if not isinstance(batch, TensorBatch):
            batch = TensorBatch(batch)
        args = inference_args or {}
        outputs = self._call(batch, model, args)
        if batch.paddings:
            if isinstance(outputs, Iterator):
                outputs = list(outputs)
            self._find_sequences(outputs, batch, model, args)
        return outputs

    def read_outputs(self, outputs: Any, count: int) -> Outputs:
        """Check the outputs; those of a list, as detection models answer, get their own memory."""
        if isinstance(outputs, list):
            from runinference_pytorch.calling import owned

            outputs = [owned(prediction) for prediction in outputs]
        return super().read_outputs(outputs, count)

    def output_lengths(
        self, outputs: Outputs, examples: Sequence[Any]
    ) -> Mapping[str, Sequence[int]] | None:
        """The own lengths of padded examples, for the leaves that have one entry per position."""
        if self.padding is None:
            return None
        columns = self._columns(examples)
        paddings = paddings_of(columns, self.padding)
        lengths = {name: [tensor.shape[0] for tensor in columns[name]] for name in paddings}
        return self._finder().lengths(outputs.leaves, lengths, paddings) or None

    @property
    def length(self) -> Callable[[Any], int] | None:
        """``length(prepared_example)``: the first axis, of the longest padded tensor."""
        padding = self.padding
        return None if padding is None else lambda example: length_of(example, padding)

    @property
    def collate_table(self) -> Callable[[Any, nn.Module], Any] | None:
        """The batch of a table's columns; with padding, a table goes example by example."""
        return None if self.padding is not None else self._collate_table

    def get_metrics_namespace(self) -> str:
        """As that of Beam's own handlers."""
        return "BeamML_PyTorch"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _LEARNED}

    def _columns(self, examples: Sequence[Any]) -> Columns:
        """The tensors of prepared examples by name, one per example; a single one is called ""."""
        raise NotImplementedError

    def _tensors_of(self, table: pa.Table, model: nn.Module) -> TensorBatch:
        """The batch of a table's columns, which may lie in the table's memory."""
        raise NotImplementedError

    def _collate(self, examples: Sequence[Any], model: nn.Module) -> TensorBatch:
        from runinference_pytorch import collating

        columns = self._columns(examples)
        dtypes = options.torch_dtypes(self.dtype, columns)
        if self.padding is None:
            batch = collating.stack_batch(columns, dtypes)
        else:
            batch = collating.pad_batch(columns, self.padding, dtypes)
        return batch.to(device_of(model, self.device))

    def _collate_table(self, table: pa.Table, model: nn.Module) -> TensorBatch:
        batch = self._tensors_of(table, model)
        if self._writes_to_input is not False:
            # Until the model has been seen not to write to its input, and if it does: the table
            # travels on, and its memory may not even be writable.
            batch = batch.owned()
        return batch.to(device_of(model, self.device))

    def _call(self, batch: TensorBatch, model: nn.Module, args: dict[str, Any]) -> Any:
        import torch

        from runinference_pytorch import calling

        versions = batch.versions()
        arguments = {**batch.masks, **args}
        with torch.inference_mode(), calling.explained(batch, model):
            if self.inference_fn is not None:
                device = device_of(model, self.device)
                outputs = self.inference_fn(batch.tensors, model, device, arguments)
            else:
                function = model if self.method is None else getattr(model, self.method)
                positional = () if isinstance(batch.tensors, dict) else (batch.tensors,)
                named = batch.tensors if isinstance(batch.tensors, dict) else {}
                outputs = function(*positional, **named, **arguments)
        writes = batch.versions() != versions
        self._writes_to_input = writes or bool(self._writes_to_input)
        if writes and batch.is_borrowed:
            raise OutputStructureError(
                f"{type(model).__qualname__} changed its input in place, which is a table's "
                "memory, and had not done so before: clone the input in the model"
            )
        return outputs

    def _find_sequences(
        self, outputs: Any, batch: TensorBatch, model: nn.Module, args: dict[str, Any]
    ) -> None:
        seen: dict[tuple[int, bool], Probe] = {}

        def probe(path: str, position: int, resized: bool) -> Probe:
            if (position, resized) not in seen:
                seen[position, resized] = self._probe(path, batch, position, resized, model, args)
            return seen[position, resized]

        count = len(next(iter(batch.shapes.values())))
        leaves = self.read_outputs(outputs, count).leaves
        lengths = {name: [s[0] for s in shapes] for name, shapes in batch.shapes.items()}
        self._finder().lengths(leaves, lengths, batch.paddings, probe)

    def _probe(
        self,
        path: str,
        batch: TensorBatch,
        position: int,
        resized: bool,
        model: nn.Module,
        args: dict[str, Any],
    ) -> Probe:
        shortest = min(shapes[position][0] for shapes in batch.shapes.values())
        # a model may refuse lengths below or above some bound
        changes = [0] if not resized else [1] if shortest < 2 else [-1, 1]
        for change in changes:
            alone = batch.alone(position, change)
            try:
                leaves = self.read_outputs(self._call(alone, model, args), 1).leaves
            except Exception as error:
                if change != changes[-1]:
                    continue
                why = f"predicting example {position} alone failed: {error}"
                raise OutputStructureError(cannot_tell(path, why)) from error
            shapes: dict[str, Sequence[int]] = {
                name: getattr(leaf, "shape", ()) for name, leaf in leaves.items()
            }
            return Probe(
                {name: own[0][0] for name, own in alone.shapes.items()},
                {name: int(shape[1]) for name, shape in shapes.items() if len(shape) > 1},
            )
        raise AssertionError("there is at least one change")

    def _finder(self) -> SequenceFinder:
        if self._sequences is None:
            self._sequences = SequenceFinder()
        return self._sequences
