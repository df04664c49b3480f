"""Models written by hand, one operator each."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = np.arange(8, dtype=np.float32).reshape(4, 2) / 10


def model(nodes, inputs, outputs, constants=(), domains=()):
    """``inputs`` and ``outputs``: name, type and shape of each, or None."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(array, name) for name, array in constants],
    )
    opsets = [helper.make_opsetid("", 17)] + [helper.make_opsetid(name, 1) for name in domains]
    made = helper.make_model(graph, opset_imports=opsets)
    made.ir_version = 10  # newer ones are for onnxruntime's that are newer than the pinned one
    return made


def linear(batch="n"):
    return model(
        [helper.make_node("MatMul", ["x", "W"], ["y"])],
        [("x", TensorProto.FLOAT, [batch, 4])],
        [("y", TensorProto.FLOAT, [batch, 2])],
        [("W", WEIGHTS)],
    )


def identity(kind=TensorProto.FLOAT, shape=("n",)):
    return model(
        [helper.make_node("Identity", ["x"], ["y"])], [("x", kind, shape)], [("y", kind, shape)]
    )


def two_inputs():
    """``a`` ``[any, 2]`` and ``b`` ``[any]`` times ``factor``, one number for all examples."""
    return model(
        [
            helper.make_node("Mul", ["a", "factor"], ["scaled"]),
            helper.make_node("Identity", ["b"], ["same"]),
        ],
        [
            ("a", TensorProto.FLOAT, ["n", 2]),
            ("b", TensorProto.INT64, ["n"]),
            ("factor", TensorProto.FLOAT, []),
        ],
        [("scaled", TensorProto.FLOAT, ["n", 2]), ("same", TensorProto.INT64, ["n"])],
    )


def unknown_operator():
    return model(
        [helper.make_node("Foo", ["x"], ["y"], domain="com.acme")],
        [("x", TensorProto.FLOAT, ["n"])],
        [("y", TensorProto.FLOAT, ["n"])],
        domains=["com.acme"],
    )


def too_large():
    """As many numbers as its input says."""
    return model(
        [helper.make_node("ConstantOfShape", ["x"], ["y"])],
        [("x", TensorProto.INT64, [None])],
        [("y", TensorProto.FLOAT, None)],
    )
