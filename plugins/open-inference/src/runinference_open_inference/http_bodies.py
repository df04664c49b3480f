"""Requests and responses of the HTTP protocol: JSON, or JSON with binary tensors behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runinference.errors import ExampleError, OutputStructureError
from runinference_open_inference.inputs import Request
from runinference_open_inference.tensors import Tensor, from_raw, from_values, texts, to_raw

__all__ = ["HEADER_LENGTH", "MalformedAnswerError", "decode", "encode"]

HEADER_LENGTH = "Inference-Header-Content-Length"
"""The HTTP header that tells where the JSON ends and binary tensors begin."""


class MalformedAnswerError(ConnectionError):
    """An answer that is not what the protocol says; it may have been damaged on its way."""


def encode(
    request: Request,
    outputs: Sequence[str] | None,
    parameters: Mapping[str, Any] | None,
    *,
    binary: bool,
) -> tuple[bytes, dict[str, str]]:
    """The body of a request, and its headers.

    Raises:
        ExampleError: what JSON has no word for: a number that is not finite, bytes of no text.
    """
    raws: list[bytes] = []
    head: dict[str, Any] = {
        "inputs": [_input(tensor, raws if binary else None) for tensor in request.inputs]
    }
    parameters = dict(parameters or {})
    if outputs is not None:
        wanted = {"parameters": {"binary_data": True}} if binary else {}
        head["outputs"] = [{"name": name, **wanted} for name in outputs]
    elif binary:
        parameters["binary_data_output"] = True
    if parameters:
        head["parameters"] = parameters
    try:
        encoded = json.dumps(head, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError) as error:
        raise ExampleError(
            "an example has a number that is not finite, or bytes that are no text, which JSON "
            "cannot say: replace them, or use open-inference-grpc or a server with binary tensors "
            f"({error})"
        ) from error
    if not binary:
        return encoded, {"Content-Type": "application/json"}
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(encoded))}
    return b"".join([encoded, *raws]), headers


def decode(body: bytes, header_length: str | None) -> dict[str, np.ndarray[Any, Any]]:
    """The outputs in a response's body, by name.

    Args:
        body: all of it.
        header_length: the value of the header ``HEADER_LENGTH``, where there is one.

    Raises:
        MalformedAnswerError: no JSON, or not that of a response.
        OutputStructureError: an output whose values do not fit its type and shape.
    """
    try:
        end = len(body) if header_length is None else int(header_length)
        outputs = json.loads(body[:end])["outputs"]
        described = [(o["name"], o["datatype"], [int(n) for n in o["shape"]], o) for o in outputs]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedAnswerError(
            f"the answer is not JSON of the Open Inference Protocol ({type(error).__name__}: "
            f"{error}): {body[:100]!r}"
        ) from error
    found: dict[str, np.ndarray[Any, Any]] = {}
    for name, datatype, shape, output in described:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is not None:
            found[name] = from_raw(name, datatype, shape, body[end : end + size])
            end += size
        elif "data" in output:
            found[name] = from_values(name, datatype, shape, output["data"])
        else:
            raise OutputStructureError(f"the server answered output {name!r} without its values")
    return found


def _input(tensor: Tensor, raws: list[bytes] | None) -> dict[str, Any]:
    told = {
        "name": tensor.name,
        "datatype": tensor.datatype,
        "shape": list(tensor.array.shape),
    }
    if raws is not None:
        raws.append(to_raw(tensor))
        return {**told, "parameters": {"binary_data_size": len(raws[-1])}}
    array = texts(tensor.array) if tensor.datatype == "BYTES" else tensor.array
    return {**told, "data": array.reshape(-1).tolist()}
