import shutil
import subprocess
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from whymatch.client import AsyncClient, Client, Unavailable
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
