"""Servers on loopback that do as a test says."""

import http.server
import json
import sys
import threading
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))  # for the modules beside the tests


class Server:
    """Answers requests with what `answer(number, examples) -> (status, headers, object)` says.

    `received` has the examples of each request, in order, and `together` the most that were
    answered at a time.
    """

    def __init__(self, answer):
        self.received = []
        self.together = 0
        self._active = 0
        self._lock = threading.Lock()
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self):
                examples = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    server.received.append(examples)
                    number = len(server.received)
                    server._active += 1
                    server.together = max(server.together, server._active)
                try:
                    status, headers, said = answer(number, examples)
                finally:
                    with server._lock:
                        server._active -= 1
                body = json.dumps(said).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def serve():
    """``serve(answer)`` starts a server; all are stopped after the test."""
    servers = []

    def start(answer):
        servers.append(Server(answer))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
