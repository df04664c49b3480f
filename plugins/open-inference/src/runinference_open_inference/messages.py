"""The messages of the gRPC protocol that a client needs, made of their fields' numbers.

They live in a pool of their own, so that other clients of the protocol in the same process, which
register the same names, are no conflict; and they need no generated code, which would be bound to
one version of protobuf.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

__all__ = ["FIELDS", "PACKAGE", "SERVICE", "message"]

PACKAGE = "inference"
SERVICE = "inference.GRPCInferenceService"

# By message, each field's number and type. "*" stands for a repeated field, and "map" for one from
# names to parameters.
FIELDS: Mapping[str, Mapping[str, tuple[int, str]]] = {
    "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelMetadataResponse": {
        "name": (1, "string"),
        "versions": (2, "*string"),
        "platform": (3, "string"),
        "inputs": (4, "*ModelMetadataResponse.TensorMetadata"),
        "outputs": (5, "*ModelMetadataResponse.TensorMetadata"),
    },
    "ModelMetadataResponse.TensorMetadata": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "*int64"),
    },
    "ModelInferRequest": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "map"),
        "inputs": (5, "*ModelInferRequest.InferInputTensor"),
        "outputs": (6, "*ModelInferRequest.InferRequestedOutputTensor"),
        "raw_input_contents": (7, "*bytes"),
    },
    "ModelInferRequest.InferInputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "*int64"),
        "parameters": (4, "map"),
        "contents": (5, "InferTensorContents"),
    },
    "ModelInferRequest.InferRequestedOutputTensor": {
        "name": (1, "string"),
        "parameters": (2, "map"),
    },
    "ModelInferResponse": {
        "model_name": (1, "string"),
        "model_version": (2, "string"),
        "id": (3, "string"),
        "parameters": (4, "map"),
        "outputs": (5, "*ModelInferResponse.InferOutputTensor"),
        "raw_output_contents": (6, "*bytes"),
    },
    "ModelInferResponse.InferOutputTensor": {
        "name": (1, "string"),
        "datatype": (2, "string"),
        "shape": (3, "*int64"),
        "parameters": (4, "map"),
        "contents": (5, "InferTensorContents"),
    },
    "InferParameter": {  # one of them
        "bool_param": (1, "bool"),
        "int64_param": (2, "int64"),
        "string_param": (3, "string"),
        "double_param": (4, "double"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "*bool"),
        "int_contents": (2, "*int32"),
        "int64_contents": (3, "*int64"),
        "uint_contents": (4, "*uint32"),
        "uint64_contents": (5, "*uint64"),
        "fp32_contents": (6, "*float"),
        "fp64_contents": (7, "*double"),
        "bytes_contents": (8, "*bytes"),
    },
}

_Field = descriptor_pb2.FieldDescriptorProto


def message(name: str) -> Any:
    """The class of a message."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(f"{PACKAGE}.{name}"))


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    file = descriptor_pb2.FileDescriptorProto(
        name="runinference_open_inference.proto", package=PACKAGE, syntax="proto3"
    )
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in FIELDS.items():
        outer, _, own = name.rpartition(".")
        add = made[outer].nested_type.add if outer else file.message_type.add
        kind = made[name] = add(name=own)
        for field, (number, told) in fields.items():
            _add(kind, name, field, number, told)
    made["InferParameter"].oneof_decl.add(name="parameter_choice")
    for field in made["InferParameter"].field:
        field.oneof_index = 0
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool


def _add(
    kind: descriptor_pb2.DescriptorProto, owner: str, name: str, number: int, told: str
) -> None:
    label = _Field.LABEL_OPTIONAL
    if told.startswith("*"):
        label, told = _Field.LABEL_REPEATED, told[1:]
    elif told == "map":
        label, entry = _Field.LABEL_REPEATED, f"{name.title()}Entry"
        nested = kind.nested_type.add(name=entry)
        nested.options.map_entry = True
        _add(nested, owner, "key", 1, "string")
        _add(nested, owner, "value", 2, "InferParameter")
        told = f"{owner}.{entry}"
    field = kind.field.add(name=name, number=number, label=label)
    if told[0].isupper():
        field.type = _Field.TYPE_MESSAGE
        field.type_name = f".{PACKAGE}.{told}"
    else:
        field.type = _Field.Type.Value(f"TYPE_{told.upper()}")
