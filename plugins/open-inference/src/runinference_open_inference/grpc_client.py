"""Ask a server over gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from runinference.errors import ConfigurationError, OutputStructureError
from runinference_open_inference.credentials import Secrets
from runinference_open_inference.inputs import Request
from runinference_open_inference.messages import SERVICE, message
from runinference_open_inference.tensors import TensorSpec, from_raw, from_values, to_raw

__all__ = ["GrpcClient"]

# The fields of InferTensorContents, of which each tensor fills one.
_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
_ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class _RpcFailed(Exception):
    """A call that the server, or the way there, did not answer; picked apart by its ``code()``."""

    def __init__(self, error: grpc.RpcError, said: str) -> None:
        super().__init__(f"{error.code().name}: {said}")
        self.code = error.code
        self.details = said


class GrpcClient:
    """A channel to one server, shared by threads.

    Args:
        target: ``host:port``.
        model: the model's name.
        version: the model's version; the server chooses where None.
        secrets: metadata of each call.
        tls: whether the channel is encrypted.
        ca_file: certificates of the authorities to trust instead of the system's.
        timeout_s: for a whole call.

    Raises:
        Exception: the metadata cannot be read.
    """

    def __init__(
        self,
        target: str,
        model: str,
        version: str | None,
        *,
        secrets: Secrets,
        tls: bool,
        ca_file: str | None,
        timeout_s: float,
    ) -> None:
        self._model, self._version = model, version or ""
        self._secrets = secrets
        self._timeout_s = timeout_s
        self._metadata = [(name.lower(), value) for name, value in secrets.headers.items()]
        if tls:
            roots = None if ca_file is None else Path(ca_file).read_bytes()
            credentials = grpc.ssl_channel_credentials(root_certificates=roots)
            self._channel = grpc.secure_channel(target, credentials, options=_ANY_SIZE)
        else:
            self._channel = grpc.insecure_channel(target, options=_ANY_SIZE)
        self._infer = self._method("ModelInfer")
        try:
            described = self._call(
                self._method("ModelMetadata"),
                message("ModelMetadataRequest")(name=model, version=self._version),
            )
        except BaseException:
            self.close()
            raise
        self.inputs = [
            TensorSpec(told.name, told.datatype, tuple(told.shape)) for told in described.inputs
        ]

    def infer(
        self,
        request: Request,
        outputs: Sequence[str] | None,
        parameters: Mapping[str, Any] | None,
    ) -> dict[str, np.ndarray[Any, Any]]:
        """The outputs of one call, by name.

        Raises:
            Exception: no answer, one with a code of a failure, or one that cannot be read.
        """
        asked = message("ModelInferRequest")(
            model_name=self._model,
            model_version=self._version,
            inputs=[
                {"name": t.name, "datatype": t.datatype, "shape": t.array.shape}
                for t in request.inputs
            ],
            outputs=[{"name": name} for name in outputs or ()],
            raw_input_contents=[to_raw(tensor) for tensor in request.inputs],
            parameters={name: _parameter(name, v) for name, v in (parameters or {}).items()},
        )
        return _outputs(self._call(self._infer, asked))

    def close(self) -> None:
        """Close the channel."""
        self._channel.close()

    def _method(self, name: str) -> Any:
        return self._channel.unary_unary(
            f"/{SERVICE}/{name}",
            request_serializer=lambda asked: asked.SerializeToString(),
            response_deserializer=message(f"{name}Response").FromString,
        )

    def _call(self, method: Any, asked: Any) -> Any:
        try:
            return method(asked, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            said = self._secrets.hide(str(error.details())[:500])
            raise _RpcFailed(error, said) from None  # which may repeat secrets


def _outputs(answer: Any) -> dict[str, np.ndarray[Any, Any]]:
    raws = answer.raw_output_contents
    if raws and len(raws) != len(answer.outputs):
        raise OutputStructureError(
            f"the server answered with {len(answer.outputs)} outputs and the values of {len(raws)}"
        )
    found = {}
    for position, told in enumerate(answer.outputs):
        if raws:
            found[told.name] = from_raw(told.name, told.datatype, told.shape, raws[position])
        else:
            field = _CONTENTS.get(told.datatype, "bytes_contents")
            values = list(getattr(told.contents, field))
            found[told.name] = from_values(told.name, told.datatype, told.shape, values)
    return found


def _parameter(name: str, value: Any) -> Any:
    kinds = {bool: "bool_param", int: "int64_param", float: "double_param", str: "string_param"}
    kind = kinds.get(type(value))
    if kind is None:
        raise ConfigurationError(
            f"inference_args={{{name!r}: {value!r:.50}}}: the protocol takes texts, numbers and "
            "booleans"
        )
    return message("InferParameter")(**{kind: value})
