import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from server_harness import connected, serving
from small_weights import DIMENSIONS

from whymatch.client import Client, Unavailable
from whymatch.server import ServerConfig
from whymatch.server.errors import CannotStart
from whymatch.server.tls import server_credentials
from whymatch.v1.embed_service_pb2 import GetModelRequest

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")


def openssl(folder: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory) -> Path:
    """A folder with an authority, and certificates that it signed for a server and a client."""
    folder = tmp_path_factory.mktemp("certificates")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(folder, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    for name in ("server", "client"):
        openssl(folder, "req", *key, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        (folder / f"{name}.ext").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost")
        signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.pem")
    return folder


@pytest.fixture
def config(certificates, tmp_path) -> ServerConfig:
    files = {"tls_certificate": certificates / "server.pem", "tls_key": certificates / "server.key"}
    return ServerConfig(data=tmp_path, port=0, **files)


def anonymous(folder: Path) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials((folder / "ca.pem").read_bytes())


def known(folder: Path) -> grpc.ChannelCredentials:
    files = [(folder / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")]
    return grpc.ssl_channel_credentials(*files)


def answers(server, credentials: grpc.ChannelCredentials | None) -> bool:
    with connected(server, credentials) as api:
        try:
            return api.model(GetModelRequest(), timeout=5).dimensions == DIMENSIONS
        except grpc.RpcError as err:
            assert err.code() == grpc.StatusCode.UNAVAILABLE  # noqa: PT017
            return False


def test_with_a_certificate_the_server_speaks_tls_alone(config, certificates, model):
    with serving(config, model) as server:
        assert answers(server, anonymous(certificates))
        assert not answers(server, None)


def test_with_a_client_authority_it_lets_in_only_clients_with_a_certificate(config, certificates, model):
    with serving(replace(config, tls_client_ca=certificates / "ca.pem"), model) as server:
        assert answers(server, known(certificates))
        assert not answers(server, anonymous(certificates))


@pytest.mark.parametrize(
    ("certificate", "key", "authority"),
    [
        ("missing.pem", "server.key", None),
        ("server.pem", "client.key", None),
        ("server.key", "server.pem", None),
        ("server.pem", "server.key", "missing.pem"),
        ("server.pem", "server.key", "server.key"),
    ],
)
def test_files_that_do_not_fit_are_an_error_at_the_start(certificates, certificate, key, authority):
    with pytest.raises(CannotStart, match=authority or certificate):
        server_credentials(certificates / certificate, certificates / key, authority and certificates / authority)


@pytest.fixture(scope="module")
def dated(certificates) -> Callable[[str, str], Path]:
    """Make a certificate for the server's key that is valid from one day to another, both YYYYMMDD."""

    def make(begin: str, end: str) -> Path:
        settings = "[ca]\ndefault_ca=d\n[d]\ndatabase=index\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\n"
        (certificates / "ca.cnf").write_text(settings + "unique_subject=no\npolicy=p\n[p]\ncommonName=supplied\n")
        (certificates / "serial").write_text(f"{begin}\n")
        (certificates / "index").touch()
        signing = ("-cert", "ca.pem", "-keyfile", "ca.key", "-in", "server.csr", "-extfile", "server.ext", "-notext")
        dates = ("-startdate", f"{begin}000000Z", "-enddate", f"{end}000000Z")
        out = ("-out", f"{begin}.pem")
        openssl(certificates, "ca", "-batch", "-config", "ca.cnf", *signing, *dates, *out)
        return certificates / f"{begin}.pem"

    return make


@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        ("20200101", "20200201", ["certificate has expired"]),
        ("29990101", "29990201", ["certificate is not yet valid"]),
        ("20200102", "29990201", []),
    ],
)
def test_a_certificate_that_no_client_accepts_by_its_dates_is_warned_of(certificates, dated, caplog, begin, end, said):
    server_credentials(dated(begin, end), certificates / "server.key", None)
    assert [record.getMessage().rpartition(": ")[2] for record in caplog.records] == said


def test_a_client_calls_an_expired_certificate_expired(config, certificates, dated, model):
    expired, trust = dated("20200103", "20200201"), {"ca_certificate": certificates / "ca.pem", "timeout_s": 10}
    said = r"certificate of the server at .* has expired"
    with serving(replace(config, tls_certificate=expired), model) as server, Client(server.address, **trust) as client:
        assert re.search(said, str(refusal(client)))


def refusal(client: Client) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        client.model()
    return caught.value
