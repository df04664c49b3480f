"""Beam's RemoteModelHandler keeps its retries and its throttling here."""

import http.server
import json
import threading
import urllib.request

import pytest
from apache_beam.ml.inference import base

from runinference import BatchConfig, RunInference

# urlopen leaves the answer of an error to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


class Server(http.server.ThreadingHTTPServer):
    """Doubles numbers; fails as many requests as it is told to."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.failing = 0
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        numbers = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(numbers)
        is_failing = len(self.server.requests) <= self.server.failing
        body = json.dumps([2 * number for number in numbers]).encode()
        self.send_response(503 if is_failing else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    serving = Server()
    thread = threading.Thread(target=serving.serve_forever)
    thread.start()
    yield serving
    serving.shutdown()
    thread.join()
    serving.server_close()


class Doubling(base.RemoteModelHandler):
    def __init__(self, url, **kwargs):
        super().__init__(namespace="Doubling", **kwargs)
        self.url = url

    def create_client(self):
        return self.url

    def request(self, batch, model, inference_args=None):
        request = urllib.request.Request(model, json.dumps(list(batch)).encode())
        with urllib.request.urlopen(request) as response:
            answers = json.loads(response.read())
        return [base.PredictionResult(*pair) for pair in zip(batch, answers, strict=True)]


def test_a_request_that_fails_is_made_again(run, server):
    server.failing = 1
    handler = Doubling(server.url, num_retries=1)
    batching = BatchConfig(min_size=3)
    results = run.one(RunInference(handler, batching=batching), [1, 2, 3])
    assert [result.inference for result in results] == [2, 4, 6]
    assert server.requests == [[1, 2, 3], [1, 2, 3]]


def test_its_filter_says_what_is_made_again(run, server):
    server.failing = 1
    handler = Doubling(server.url, num_retries=5, retry_filter=lambda error: False)
    with pytest.raises(Exception, match="503"):
        run.one(RunInference(handler), [1])
    assert server.requests == [[1]]


def test_functions_and_keys_stand_around_it(run, server):
    handler = base.KeyedModelHandler(Doubling(server.url))
    handler = handler.with_postprocess_fn(lambda pair: (pair[0], pair[1].inference))
    assert dict(run.one(RunInference(handler), [("a", 1), ("b", 2)])) == {"a": 2, "b": 4}
