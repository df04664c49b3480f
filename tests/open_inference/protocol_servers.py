"""Small servers of the protocol, for what MLServer has not: binary tensors, encryption."""

import json
import ssl
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np

from runinference_open_inference.messages import SERVICE, message

HEADER = "Inference-Header-Content-Length"
# Told here once more, rather than taken from what is tested.
DTYPES = {"FP16": "<f2", "FP32": "<f4", "INT64": "<i8", "UINT8": "u1", "BOOL": "?"}


class HttpServer:
    """Answers with its inputs, in binary where it is asked so.

    `heads` has the JSON of each request for inference, `headers` the headers of every request.
    """

    def __init__(self, extensions=("binary_tensor_data",), inputs=(), tls=None, refuse=None):
        self.heads = []
        self.headers = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self):
                server.headers.append(dict(self.headers))
                if refuse is not None and (said := refuse(self.headers)):
                    self.answer(401, json.dumps({"error": said}).encode(), {})
                elif self.path == "/v2":
                    self.say({"name": "own", "version": "1", "extensions": list(extensions)})
                else:
                    self.say({"name": "echo", "platform": "", "inputs": list(inputs)})

            def do_POST(self):
                server.headers.append(dict(self.headers))
                body = self.rfile.read(int(self.headers["Content-Length"]))
                end = int(self.headers.get(HEADER, len(body)))
                head = json.loads(body[:end])
                server.heads.append(head)
                wanted = [output["name"] for output in head.get("outputs", [])]
                in_binary = head.get("parameters", {}).get("binary_data_output") or any(
                    output.get("parameters", {}).get("binary_data")
                    for output in head.get("outputs", [])
                )
                outputs, raws = [], []
                for tensor in head["inputs"]:
                    size = tensor.get("parameters", {}).get("binary_data_size")
                    raw, values = None, tensor.get("data")
                    if size is not None:
                        raw, end = body[end : end + size], end + size
                        values = None if in_binary else decoded(tensor["datatype"], raw)
                    if wanted and tensor["name"] not in wanted:
                        continue
                    told = {key: tensor[key] for key in ("name", "datatype", "shape")}
                    if in_binary:
                        raws.append(encoded(tensor["datatype"], values) if raw is None else raw)
                        told["parameters"] = {"binary_data_size": len(raws[-1])}
                    else:
                        told["data"] = values
                    outputs.append(told)
                said = json.dumps({"model_name": "echo", "outputs": outputs}).encode()
                headers = {HEADER: str(len(said))} if in_binary else {}
                self.answer(200, b"".join([said, *raws]), headers)

            def say(self, value):
                self.answer(200, json.dumps(value).encode(), {})

            def answer(self, status, body, headers):
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        scheme = "http"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
            scheme = "https"
        self.url = f"{scheme}://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def decoded(datatype, raw):
    if datatype != "BYTES":
        return np.frombuffer(raw, DTYPES[datatype]).tolist()
    values, start = [], 0
    while start < len(raw):
        (length,) = struct.unpack_from("<I", raw, start)
        values.append(raw[start + 4 : start + 4 + length].decode())
        start += 4 + length
    return values


def encoded(datatype, values):
    if datatype != "BYTES":
        return np.array(values, DTYPES[datatype]).tobytes()
    texts = [value.encode() for value in values]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


class GrpcServer:
    """Answers with its inputs; `metadata` has what came with each call."""

    def __init__(self, tls=None, refuse=None):
        self.metadata = []
        server = self

        def described(asked, context):
            server.metadata.append(dict(context.invocation_metadata()))
            said = refuse(server.metadata[-1]) if refuse is not None else None
            if said:
                context.abort(grpc.StatusCode.UNAUTHENTICATED, said)
            return message("ModelMetadataResponse")(name=asked.name)

        def inferred(asked, context):
            server.metadata.append(dict(context.invocation_metadata()))
            return message("ModelInferResponse")(
                outputs=[
                    {"name": t.name, "datatype": t.datatype, "shape": t.shape} for t in asked.inputs
                ],
                raw_output_contents=asked.raw_input_contents,
            )

        def handler(function, name):
            return grpc.unary_unary_rpc_method_handler(
                function,
                request_deserializer=message(f"{name}Request").FromString,
                response_serializer=lambda answer: answer.SerializeToString(),
            )

        methods = {
            "ModelMetadata": handler(described, "ModelMetadata"),
            "ModelInfer": handler(inferred, "ModelInfer"),
        }
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(SERVICE, methods)]
        )
        if tls is None:
            port = self._server.add_insecure_port("127.0.0.1:0")
            self.url = f"grpc://localhost:{port}"
        else:
            pair = (tls.key.read_bytes(), tls.certificate.read_bytes())
            credentials = grpc.ssl_server_credentials([pair])
            port = self._server.add_secure_port("127.0.0.1:0", credentials)
            self.url = f"grpcs://localhost:{port}"
        self._server.start()

    def close(self):
        self._server.stop(0).wait()
