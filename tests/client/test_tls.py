import shutil
import subprocess
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from whymatch.client import AsyncClient, Client, Unavailable
from whymatch.client.wire.encryption import of_encryption
from whymatch.v1 import embed_service_pb2 as embed
from whymatch.v1 import embed_service_pb2_grpc as embed_grpc

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes certificates with openssl")


class Model(embed_grpc.EmbedServiceServicer):
    def GetModel(self, request, context):
        return embed.Model(backbone="secure")

    def EmbedImage(self, request, context):
        raise NotImplementedError


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "1"]
    subprocess.run([*command, *names, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def secure_address(certificate):
    """A server that shows the certificate and wants the client to show it, too."""
    public, private = (path.read_bytes() for path in certificate)
    credentials = grpc.ssl_server_credentials([(private, public)], public, require_client_auth=True)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    embed_grpc.add_EmbedServiceServicer_to_server(Model(), server)
    port = server.add_secure_port("localhost:0", credentials)
    server.start()
    yield f"localhost:{port}"
    server.stop(None).wait()


def test_both_sides_prove_who_they_are(secure_address, certificate):
    public, private = certificate
    client = Client(secure_address, ca_certificate=public, client_certificate=public, client_key=private)
    with client:
        assert client.model().backbone == "secure"


def test_the_async_client_does_the_same(secure_address, certificate):
    import asyncio

    public, private = certificate

    async def scenario():
        keys = {"ca_certificate": public, "client_certificate": public, "client_key": private}
        async with AsyncClient(secure_address, **keys) as client:
            return (await client.model()).backbone

    assert asyncio.run(scenario()) == "secure"


@pytest.mark.parametrize("options", [{}, {"tls": True}, {"ca": True}])
def test_less_than_that_is_refused(secure_address, certificate, options):
    if options.pop("ca", False):
        options = {"ca_certificate": certificate[0]}
    with Client(secure_address, timeout_s=5, **options) as client, pytest.raises(Unavailable):
        client.model()


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> tuple[Path, Path]:
    """A certificate for another host."""
    folder = tmp_path_factory.mktemp("other")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=example.org", "-addext", "subjectAltName=DNS:example.org", "-days", "1"]
    subprocess.run([*command, *names, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    return certificate, key


@contextmanager
def answering(shown: tuple[Path, Path] | None) -> Iterator[str]:
    """A server that shows a certificate, or speaks in plain text."""
    server = grpc.server(futures.ThreadPoolExecutor(2))
    embed_grpc.add_EmbedServiceServicer_to_server(Model(), server)
    if shown is None:
        port = server.add_insecure_port("localhost:0")
    else:
        public, private = (path.read_bytes() for path in shown)
        port = server.add_secure_port("localhost:0", grpc.ssl_server_credentials([(private, public)]))
    server.start()
    yield f"localhost:{port}"
    server.stop(None).wait()


def complaint(address: str, **options: object) -> str:
    with Client(address, timeout_s=5, retries=0, **options) as client, pytest.raises(Unavailable) as caught:
        client.model()
    return str(caught.value)


def test_a_plain_client_is_told_of_tls(certificate):
    with answering(certificate) as address:
        said = complaint(address)
    assert said.startswith(f"something answers at {address}, but not in plain text")
    assert "--tls" in said
    assert "tls=True" in said


def test_a_client_with_tls_is_told_of_plain_text():
    with answering(None) as address:
        assert "but not encrypted; try without --tls" in complaint(address, tls=True)


def test_an_unknown_certificate_leads_to_the_option_that_takes_it(certificate):
    with answering(certificate) as address:
        said = complaint(address, tls=True)
    assert said.startswith(f"the certificate of the server at {address} signs itself")
    assert "--ca-certificate FILE" in said


def test_a_certificate_for_another_host_is_named(other):
    with answering(other) as address:
        assert "is for another host name" in complaint(address, ca_certificate=other[0])


def test_a_client_without_the_certificate_that_is_wanted_is_told(secure_address, certificate):
    assert "--client-certificate" in complaint(secure_address, ca_certificate=certificate[0])


def test_an_expired_certificate_is_called_expired():
    words = "failed to connect to all addresses; last error: ... CERTIFICATE_VERIFY_FAILED: certificate has expired: OK"
    assert of_encryption(words, "a:1", tls=True).startswith("the certificate of the server at a:1 has expired")


def test_a_connection_that_broke_says_nothing_of_encryption():
    assert of_encryption("Socket closed", "a:1", tls=False) == ""
