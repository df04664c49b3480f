"""Why a request failed, told from the exceptions that real clients raise."""

import http.client
import socket
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager

import grpc
import httpx
import pytest
import requests

from runinference.remote.policy import RETRY_STATUSES
from runinference.remote.refusals import Kind, read_refusal


def read(error, now=0.0):
    return read_refusal(error, RETRY_STATUSES, lambda: now)


def with_httpx(url):
    httpx.get(url, timeout=2).raise_for_status()


def with_requests(url):
    requests.get(url, timeout=2).raise_for_status()


def with_urllib(url):
    urllib.request.urlopen(url, timeout=2).close()


def with_http_client(url):
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/")
        connection.getresponse()
    finally:
        connection.close()


CLIENTS = [with_httpx, with_requests, with_urllib, with_http_client]
each_client = pytest.mark.parametrize("ask", CLIENTS)


@contextmanager
def answering(answer):
    """A server that reads a request, sends these bytes and hangs up; None: says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            if answer is None:
                done.wait(5)
            else:
                connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    done.set()
    thread.join()
    listener.close()


def raised(ask, url):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is for read_refusal to say
        ask(url)
    error = caught.value
    if isinstance(error, urllib.error.HTTPError):
        error.close()
    return error


@each_client
def test_nobody_listens(ask):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    refusal = read(raised(ask, f"http://127.0.0.1:{port}"))
    assert refusal.kind is Kind.LATER
    assert "refused" in refusal.text
    assert not refusal.is_overload


@each_client
def test_no_answer_in_time(ask):
    with answering(None) as url:
        assert read(raised(ask, url)).kind is Kind.LATER


@pytest.mark.parametrize("ask", [with_requests, with_urllib, with_http_client])
def test_hung_up_without_an_answer(ask):
    with answering(b"") as url:
        assert read(raised(ask, url)).kind is Kind.LATER


@pytest.mark.parametrize("ask", [with_httpx, with_requests, with_urllib])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Kind.NEVER),
        (401, Kind.NO_REQUEST),
        (404, Kind.NO_REQUEST),
        (408, Kind.LATER),
        (422, Kind.NEVER),
        (429, Kind.LATER),
        (500, Kind.LATER),
        (501, Kind.NO_REQUEST),
        (503, Kind.LATER),
    ],
)
def test_statuses(ask, status, kind):
    told = f"HTTP/1.1 {status} Told\r\nRetry-After: 12\r\nContent-Length: 0\r\n\r\n"
    with answering(told.encode()) as url:
        refusal = read(raised(ask, url))
    assert refusal.kind is kind
    assert str(status) in refusal.text
    if kind is Kind.LATER:
        assert (refusal.retry_after_s, refusal.is_overload) == (12, True)
        assert refusal.is_rate_limit == (status == 429)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0),
        ("1.5", 1.5),
        ("-3", 0),
        ("soon", None),
    ],
)
def test_a_wish_to_wait_is_seconds_or_a_date(value, seconds):
    error = urllib.error.HTTPError("http://host", 503, "", {"Retry-After": value}, None)
    assert read(error, now=1445412480.0).retry_after_s == seconds


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (grpc.StatusCode.UNAVAILABLE, Kind.LATER),
        (grpc.StatusCode.DEADLINE_EXCEEDED, Kind.LATER),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Kind.LATER),
        (grpc.StatusCode.INVALID_ARGUMENT, Kind.NEVER),
        (grpc.StatusCode.UNAUTHENTICATED, Kind.NO_REQUEST),
        (grpc.StatusCode.UNIMPLEMENTED, Kind.NO_REQUEST),
    ],
)
def test_codes_of_grpc(code, kind):
    refusal = read(raised_by_grpc(code, "as told"))
    assert refusal.kind is kind
    assert refusal.text == f"{code.name}: as told"


def test_a_message_too_large_is_not_an_overload():
    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    error = raised_by_grpc(code, "SERVER: Received message larger than max (5 vs. 4)")
    assert read(error).kind is Kind.NEVER


def raised_by_grpc(code, details):
    """What gRPC's own client raises where a server answers with a code."""
    from concurrent.futures import ThreadPoolExecutor

    class Service(grpc.GenericRpcHandler):
        def service(self, call):
            def refuse(request, context):
                context.abort(code, details)

            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Service()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary("/a/b")(b"", timeout=5)
            return caught.value
    finally:
        server.stop(0).wait()


def test_errors_of_no_client():
    assert read(ValueError("a bug")).kind is Kind.OTHER
    caused = RuntimeError("the library's own")
    caused.__cause__ = ConnectionResetError("by peer")
    assert read(caused).kind is Kind.LATER
