"""TLS and mutual TLS from PEM files, checked before the server starts."""

import ssl
from contextlib import suppress
from pathlib import Path

import grpc

from whymatch.server.errors import CannotStart
from whymatch.server.logs import logger

_NOT_YET_VALID, _EXPIRED = 9, 10
"""OpenSSL's X509_V_ERR numbers."""


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
    if why := _out_of_date(context, certificate):
        logger.warning("clients will refuse the certificate %r: %s", str(certificate), why)


def _out_of_date(context: ssl.SSLContext, certificate: Path) -> str:
    """Let a client that trusts just this certificate shake hands; return what is wrong with its dates, if anything."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.load_verify_locations(certificate)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        for side in (client, server, client):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as err:
        return err.verify_message if err.verify_code in (_EXPIRED, _NOT_YET_VALID) else ""
    except ssl.SSLError:  # not about the dates: clients may be of another mind
        return ""
    return ""
