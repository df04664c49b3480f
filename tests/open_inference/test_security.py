"""Credentials and encryption: read on the worker, checked by the server, and shown nowhere."""

import base64
import bz2
import dataclasses
import datetime
import ipaddress
import logging
import pickle
import re
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from protocol_servers import GrpcServer, HttpServer

from runinference import RunInference, create_handler
from runinference.errors import ConfigurationError, ModelUnavailableError
from runinference_open_inference.credentials import Secrets

TOKEN = "token-5f1c2d9e-not-to-be-seen"
KEY = "key-77aa01-not-to-be-seen"
SERVERS = {"open-inference-http": HttpServer, "open-inference-grpc": GrpcServer}
both = pytest.mark.parametrize("protocol", sorted(SERVERS))
CREDENTIALS = {"bearer_token_env": "ACME_TOKEN", "headers_from_env": {"X-Api-Key": "ACME_KEY"}}


@dataclasses.dataclass
class Certificate:
    certificate: Path
    key: Path
    authority: Path


@pytest.fixture
def serve():
    servers = []

    def start(protocol, **options):
        servers.append(SERVERS[protocol](**options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def secrets(monkeypatch):
    monkeypatch.setenv("ACME_TOKEN", TOKEN)
    monkeypatch.setenv("ACME_KEY", KEY)


@pytest.fixture(scope="session")
def tls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    now = datetime.datetime.now(datetime.UTC)

    def make(subject, issuer, key, signer, *extensions):
        def name(text):
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        made = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        for extension, critical in extensions:
            made = made.add_extension(extension, critical)
        return made.sign(signer, hashes.SHA256())

    root, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = make("Test CA", "Test CA", root, root, (x509.BasicConstraints(True, None), True))
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    leaf = make(
        "localhost",
        "Test CA",
        own,
        root,
        (x509.SubjectAlternativeName(names), False),
        (x509.BasicConstraints(False, None), True),
    )
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    pem = own.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    (folder / "key.pem").write_bytes(pem)
    return Certificate(folder / "leaf.pem", folder / "key.pem", folder / "ca.pem")


def unpacked(graph):
    """The functions that a pipeline carries to its workers, which Beam compresses."""
    for transform in graph.components.transforms.values():
        if transform.spec.urn == "beam:transform:pardo:v1":
            payload = beam_runner_api_pb2.ParDoPayload.FromString(
                transform.spec.payload
            ).do_fn.payload
            yield from decompressed(payload)


def decompressed(payload):
    """What a pickler of Beam's compressed, and what that carries compressed itself."""
    code = bz2.decompress(base64.b64decode(payload))
    yield code
    for within in re.findall(rb"QlpoOT[\w+/]+=*", code):  # BZh9, as bz2 begins
        yield from decompressed(within)


def predict(protocol, server, examples, **options):
    handler = create_handler(protocol, url=server.url, model_name="echo", **options)
    client = handler.load_model()
    try:
        return handler.run_inference(examples, client)
    finally:
        handler.close_model(client)


@both
def test_every_request_carries_what_the_environment_holds(serve, secrets, protocol):
    server = serve(protocol)
    assert predict(protocol, server, [1.0], **CREDENTIALS) == [1.0]
    seen = server.headers if protocol == "open-inference-http" else server.metadata
    assert len(seen) >= 2
    for headers in seen:
        lower = {name.lower(): value for name, value in headers.items()}
        assert lower["authorization"] == f"Bearer {TOKEN}"
        assert lower["x-api-key"] == KEY


@both
def test_no_secret_is_in_the_pipeline_its_graph_its_labels_or_its_logs(
    run, serve, secrets, protocol, caplog
):
    server = serve(protocol)
    handler = create_handler(protocol, url=server.url, model_name="echo", **CREDENTIALS)
    client = handler.load_model()
    handler.run_inference([1.0], client)
    handler.close_model(client)
    transform = RunInference(handler)
    pipeline = beam.Pipeline(runner=FnApiRunner())
    results = pipeline | beam.Create([1.0]) | transform
    run.keep(results)
    graph = pipeline.to_runner_api()
    code = b"".join(unpacked(graph))
    assert b"ACME_TOKEN" in code  # the variable's name travels, and would be found
    shown = [
        code,
        graph.SerializeToString(),
        pickle.dumps(handler),
        repr(handler).encode(),
        repr(transform).encode(),
        transform.default_label().encode(),
        repr(transform.annotations()).encode(),
        str(vars(handler)).encode(),
    ]
    with caplog.at_level(logging.DEBUG):
        pipeline.run().wait_until_finish()
    assert [result.inference for result in run.elements()] == [1.0]
    shown += [record.getMessage().encode() for record in caplog.records]
    shown += [repr(result).encode() for result in run.elements()]
    for text in shown:
        assert TOKEN.encode() not in text
        assert KEY.encode() not in text


@both
def test_a_server_that_repeats_the_secret_has_it_hidden(serve, secrets, protocol):
    server = serve(protocol, refuse=lambda headers: f"who is {TOKEN} with {KEY}?")
    with pytest.raises(ModelUnavailableError, match=r"who is \*\*\* with \*\*\*\?") as raised:
        predict(protocol, server, [1.0], **CREDENTIALS)
    following = raised.value
    while following is not None:
        assert TOKEN not in repr(following)
        assert KEY not in repr(following)
        following = following.__cause__


@both
def test_a_variable_that_is_not_set_is_named(serve, monkeypatch, protocol):
    monkeypatch.delenv("ACME_TOKEN", raising=False)
    server = serve(protocol)
    with pytest.raises(ConfigurationError, match="variable ACME_TOKEN is not set in the worker"):
        predict(protocol, server, [1.0], bearer_token_env="ACME_TOKEN")


def test_what_holds_secrets_shows_and_pickles_none(secrets):
    made = Secrets("ACME_TOKEN", {"X-Api-Key": "ACME_KEY"})
    assert repr(made) == "Secrets(X-Api-Key, Authorization)"
    with pytest.raises(TypeError, match="secrets are not pickled"):
        pickle.dumps(made)


@both
@pytest.mark.parametrize(
    "url",
    ["{}://user:secret-word@host:1", "{}://host:1/v?token=secret-word", "{}://secret-word@host"],
)
def test_an_address_with_secrets_is_refused_and_not_repeated(protocol, url):
    url = url.format(protocol.rpartition("-")[2])
    with pytest.raises(ConfigurationError, match="would be pickled into the pipeline") as raised:
        create_handler(protocol, url=url, model_name="echo")
    assert "secret-word" not in str(raised.value)


@both
@pytest.mark.parametrize(
    "url", ["localhost:8080", "ftp://host:1", "http:///x", "http://h:port", ""]
)
def test_what_is_no_address(protocol, url):
    with pytest.raises(
        ConfigurationError, match=r"is no address of a server: write (http|grpc)://"
    ):
        create_handler(protocol, url=url, model_name="echo")


@both
def test_an_authority_of_ones_own(serve, tls, secrets, protocol):
    server = serve(protocol, tls=tls)
    options = {"ca_file": str(tls.authority), **CREDENTIALS}
    assert predict(protocol, server, [1.0, 2.0], **options) == [1.0, 2.0]


@both
def test_an_authority_that_is_not_trusted_is_no_matter_of_retries(serve, tls, protocol):
    server = serve(protocol, tls=tls)
    with pytest.raises(ModelUnavailableError, match="CERTIFICATE_VERIFY_FAILED"):
        predict(protocol, server, [1.0])


@both
@pytest.mark.parametrize(
    ("options", "words"),
    [({"timeout_s": 0}, "seconds above 0"), ({"output_names": "y"}, "is a string: write")],
)
def test_other_options_out_of_range(protocol, options, words):
    with pytest.raises(ConfigurationError, match=words):
        create_handler(protocol, url=f"{protocol[15:]}://host:1", model_name="m", **options)
