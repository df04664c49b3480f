"""The fields of the gRPC protocol, as MLServer's own code has them."""

import json
import subprocess

from runinference_open_inference.messages import FIELDS, message


def test_every_field_has_the_number_and_the_type_that_mlserver_gives_it(mlserver_python):
    program = """
import json
from mlserver.grpc import dataplane_pb2
found = {}
def visit(kind, name):
    found[name] = {f.name: [f.number, f.type, f.label == f.LABEL_REPEATED] for f in kind.fields}
    for nested in kind.nested_types:
        visit(nested, f"{name}.{nested.name}")
for name, kind in dataplane_pb2.DESCRIPTOR.message_types_by_name.items():
    visit(kind, name)
print(json.dumps(found))
"""
    done = subprocess.run(
        [mlserver_python, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    theirs["InferParameter"].setdefault("double_param", [4, 1, False])  # newer than its protocol
    for name, fields in FIELDS.items():
        ours = message(name).DESCRIPTOR
        assert set(fields) == set(ours.fields_by_name)
        for field in ours.fields:
            told = [field.number, field.type, field.is_repeated]
            assert told == theirs[name][field.name], f"{name}.{field.name}"


def test_a_message_that_names_the_same_as_another_librarys_is_no_conflict():
    from google.protobuf import descriptor_pb2, descriptor_pool

    file = descriptor_pb2.FileDescriptorProto(
        name="grpc_service.proto", package="inference", syntax="proto3"
    )
    file.message_type.add(name="ModelInferRequest")
    descriptor_pool.Default().Add(file)  # as Triton's client does when it is imported
    asked = message("ModelInferRequest")(model_name="m", parameters={"p": {"int64_param": 5}})
    again = message("ModelInferRequest").FromString(asked.SerializeToString())
    assert again.parameters["p"].int64_param == 5
