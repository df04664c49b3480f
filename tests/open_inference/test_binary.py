"""Tensors in binary behind the JSON, as Triton and others have them."""

import json
import subprocess

import numpy as np
import pytest
from protocol_servers import HEADER, HttpServer

from runinference import create_handler
from runinference.errors import OutputStructureError
from runinference_open_inference.http_bodies import decode, encode
from runinference_open_inference.inputs import request_of_examples


@pytest.fixture
def serve():
    servers = []

    def start(**options):
        servers.append(HttpServer(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def predict(server, examples, **options):
    handler = create_handler("open-inference-http", url=server.url, model_name="echo", **options)
    client = handler.load_model()
    try:
        return handler.run_inference(examples, client)
    finally:
        handler.close_model(client)


NUMBERS = np.random.default_rng(5).normal(size=(20, 3, 2)).astype(np.float32)


def test_where_the_server_says_that_it_has_the_extension_it_is_used(serve):
    server = serve()
    np.testing.assert_array_equal(np.stack(predict(server, list(NUMBERS))), NUMBERS)
    [head] = server.heads
    [tensor] = head["inputs"]
    assert tensor["parameters"] == {"binary_data_size": NUMBERS.nbytes}
    assert "data" not in tensor
    assert head["parameters"] == {"binary_data_output": True}
    assert server.headers[-1]["Content-Type"] == "application/octet-stream"


def test_where_it_does_not_json_is(serve):
    server = serve(extensions=())
    np.testing.assert_array_equal(np.stack(predict(server, list(NUMBERS))), NUMBERS)
    [head] = server.heads
    assert len(head["inputs"][0]["data"]) == NUMBERS.size
    assert HEADER not in server.headers[-1]


@pytest.mark.parametrize("binary", [True, False])
def test_it_can_be_told(serve, binary):
    server = serve(extensions=() if binary else ("binary_tensor_data",))
    predict(server, list(NUMBERS), binary=binary)
    assert ("data" in server.heads[0]["inputs"][0]) != binary


@pytest.mark.parametrize("binary", [True, False])
def test_several_inputs_texts_and_the_outputs_asked_for(serve, binary):
    server = serve()
    examples = [{"a": n, "t": f"text {n} é", "x": NUMBERS[n]} for n in range(4)]
    rows = predict(server, examples, binary=binary)
    assert [(row["a"], row["t"]) for row in rows] == [(n, f"text {n} é") for n in range(4)]
    np.testing.assert_array_equal(rows[3]["x"], NUMBERS[3])
    assert predict(server, examples, binary=binary, output_names=["t"]) == [
        f"text {n} é" for n in range(4)
    ]


def test_what_json_cannot_say_travels_in_binary(serve):
    server = serve()
    sent = [np.array([1.5, np.nan, np.inf], np.float16)] * 2
    np.testing.assert_array_equal(np.stack(predict(server, sent)), np.stack(sent))
    assert predict(server, [b"\xff\xfe", b""]) == [b"\xff\xfe", b""]  # bytes of no text stay bytes


def test_the_other_client_of_the_protocol_makes_and_reads_the_same_bodies(mlserver_python):
    """Triton's own client, which MLServer brings, judges what the extension means."""
    program = """
import json, sys
import numpy as np
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
tensors = [np.array([[1.5, -2.0], [0.25, 4.0]], np.float32), np.array(["é", ""], object),
           np.array([True, False])]
inputs = []
for name, datatype, array in zip("xtf", ["FP32", "BYTES", "BOOL"], tensors):
    one = InferInput(name, array.shape, datatype)
    one.set_data_from_numpy(array, binary_data=True)
    inputs.append(one)
made, end = InferenceServerClient.generate_request_body(inputs)
ours, ours_end = bytes.fromhex(sys.argv[1]), int(sys.argv[2])
answer = InferenceServerClient.parse_response_body(
    bytes.fromhex(sys.argv[3]), header_length=int(sys.argv[4])
)
print(json.dumps({
    "raw": made[end:] == ours[ours_end:],
    "theirs": json.loads(made[:end]),
    "read": [answer.as_numpy("x").tolist(), [t.decode() for t in answer.as_numpy("t")],
             answer.as_numpy("f").tolist()],
}))
"""
    examples = [
        {"x": np.array([1.5, -2.0], np.float32), "t": "é", "f": True},
        {"x": np.array([0.25, 4.0], np.float32), "t": "", "f": False},
    ]
    body, headers = encode(request_of_examples(examples, ()), None, None, binary=True)
    end = int(headers[HEADER])
    head = json.loads(body[:end])
    # what a server would answer with the same tensors
    answer = json.dumps({"model_name": "echo", "outputs": head["inputs"]}).encode()
    raw = body[end:]
    arguments = [body.hex(), str(end), (answer + raw).hex(), str(len(answer))]
    done = subprocess.run(
        [mlserver_python, "-W", "ignore", "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    judged = json.loads(done.stdout)
    assert judged["raw"]
    assert judged["read"] == [[[1.5, -2.0], [0.25, 4.0]], ["é", ""], [True, False]]
    ours = [{k: t[k] for k in ("name", "shape", "datatype", "parameters")} for t in head["inputs"]]
    theirs = judged["theirs"]["inputs"]
    assert ours == [{k: t[k] for k in ("name", "shape", "datatype", "parameters")} for t in theirs]


def answer_of(size, raw, shape=(2,), datatype="FP32"):
    told = {"name": "y", "datatype": datatype, "shape": list(shape)}
    head = json.dumps({"outputs": [{**told, "parameters": {"binary_data_size": size}}]}).encode()
    return head + raw, str(len(head))


def test_binary_answers_that_do_not_fit():
    body, length = answer_of(8, np.array([1.5, 2.5], np.float32).tobytes())
    assert decode(body, length)["y"].tolist() == [1.5, 2.5]
    for arguments, words in [
        ((8, b"1234"), r"output 'y' with 4 bytes, while FP32 of shape \[2\] has 8"),
        ((12, b"1" * 12), "with 12 bytes"),
        ((8, b"1" * 8, (3,)), "with 8 bytes"),
        ((4, b"1234", (2,), "BF16"), "as 'BF16', which numpy has no type for"),
        ((8, b"\x09\0\0\0abcd", (1,), "BYTES"), "texts that end too early"),
        ((7, b"\x03\0\0\0abc", (2,), "BYTES"), "values that are not BYTES of shape"),
    ]:
        with pytest.raises(OutputStructureError, match=words):
            decode(*answer_of(*arguments))
