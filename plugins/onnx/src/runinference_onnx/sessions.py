"""Open an ONNX Runtime session on a model file, and say why one cannot be opened."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from runinference.errors import ModelLoadError
from runinference.files import ModelFile, load_error
from runinference.hints import did_you_mean, listed
from runinference.policy import model_code_refusal
from runinference_onnx.inputs import ModelInput, read_inputs

__all__ = ["OnnxModel", "open_model"]

# Nothing can lie below it: a model that is read from memory has no folder of its own, and ONNX
# Runtime would look for further files of the model in the worker's current one.
_NO_FOLDER = "/dev/null/external-data"


@dataclasses.dataclass(frozen=True)
class OnnxModel:
    """A loaded model.

    Attributes:
        session: ``onnxruntime.InferenceSession``.
        inputs: what the model asks for, by name.
        output_names: what it answers with, in order.
        batch_size: the only number of examples that it takes in one call; None where it takes any.
    """

    session: Any
    inputs: Mapping[str, ModelInput]
    output_names: Sequence[str]
    batch_size: int | None


def open_model(
    file: ModelFile,
    *,
    providers: Sequence[str],
    provider_options: Mapping[str, Mapping[str, str]],
    custom_op_libraries: Sequence[str],
    threads: int | None,
) -> OnnxModel:
    """The model in a file, ready to be asked.

    Raises:
        ModelLoadError: a provider that is not there, or a file that is no model, is of several
            files, or needs an operator that nobody brings.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    for name in providers:
        if name not in available:
            raise ModelLoadError(
                f"provider {name!r} is not in onnxruntime {onnxruntime.__version__} as installed "
                f"here; {did_you_mean(name, available)}it has {listed(available)}. Run where it "
                "is, install the build that has it (onnxruntime-gpu for CUDA and TensorRT), or "
                "leave it out"
            )
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", _NO_FOLDER
    )
    if threads is not None:
        options.intra_op_num_threads = threads
    refusal = model_code_refusal("custom_op_libraries") if custom_op_libraries else None
    if refusal is not None:
        raise ModelLoadError(refusal)
    for library in custom_op_libraries:
        try:
            options.register_custom_ops_library(library)
        except Exception as error:
            raise ModelLoadError(
                f"custom_op_libraries: {library!r} cannot be used: {_first_line(error)}"
            ) from error
    chosen = [(name, dict(provider_options.get(name, {}))) for name in providers]
    try:
        session = onnxruntime.InferenceSession(file.data, options, providers=chosen)
    except Exception as error:
        raise _explained(error, file) from error
    lacking = [name for name in providers if name not in session.get_providers()]
    if lacking:
        raise ModelLoadError(
            f"provider {lacking[0]!r} is installed, but did not start (onnxruntime logged why): "
            f"the model would have run on {listed(session.get_providers())}"
        )
    inputs = read_inputs(session, file)
    fixed = {one.shape[0] for one in inputs.values() if one.shape and one.shape[0]}
    if len(fixed) > 1:
        raise ModelLoadError(
            f"model file {file.path!r} has inputs with first axes of {sorted(fixed)} "
            "entries: export it with a dynamic batch axis"
        )
    names = [output.name for output in session.get_outputs()]
    return OnnxModel(session, inputs, names, fixed.pop() if fixed else None)


def _explained(error: Exception, file: ModelFile) -> ModelLoadError:
    import onnxruntime

    reason = _first_line(error)
    if type(error).__name__ == "InvalidProtobuf":
        return load_error(file, "an ONNX model", "Export or copy the model again.")
    remedy = ""
    if "xternal data" in reason:
        remedy = (
            ". A model is one file here, whose digest names it: save it with its weights inside, "
            "onnx.save_model(model, path, save_as_external_data=False)"
        )
    elif "is not a registered function/op" in reason:
        remedy = (
            ". Where a library brings the operator and you trust it, say "
            "custom_op_libraries=['/path/to/library.so']"
        )
    return ModelLoadError(
        f"model file {file.path!r} cannot be loaded by onnxruntime {onnxruntime.__version__}: "
        f"{reason}{remedy}"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
