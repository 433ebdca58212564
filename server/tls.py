"""TLS and mutual TLS from PEM files, checked before the server starts."""

import ssl
from pathlib import Path

import grpc

from whymatch.server.errors import CannotStart


def server_credentials(certificate: Path, key: Path, client_ca: Path | None) -> grpc.ServerCredentials:
    """Read what an encrypted port needs; with `client_ca` it lets in only clients with a certificate signed by it.

    Raises:
        CannotStart: a file is missing or is not what it should be.
    """
    _check(certificate, key, client_ca)
    return grpc.ssl_server_credentials(
        [(key.read_bytes(), certificate.read_bytes())],
        root_certificates=client_ca.read_bytes() if client_ca else None,
        require_client_auth=client_ca is not None,
    )


def _check(certificate: Path, key: Path, client_ca: Path | None) -> None:
    """Load the files as Python would: gRPC itself only says that it cannot bind the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as err:  # SSLError is an OSError
        raise CannotStart(f"the TLS files {str(certificate)!r} and {str(key)!r} cannot be used: {err}") from err
    try:
        if client_ca:
            context.load_verify_locations(client_ca)
    except (OSError, ValueError) as err:
        raise CannotStart(f"the TLS file {str(client_ca)!r} cannot be used: {err}") from err
