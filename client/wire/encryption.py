"""What gRPC says when a server answers, but is not spoken to as it wants: in plain text, or with which certificates."""

from __future__ import annotations

_TRUST = "give {} to --ca-certificate FILE (in Python ca_certificate=)"
_CERTIFICATES = {
    "certificate has expired": "has expired; the server needs a new one",
    "certificate is not yet valid": "is not yet valid; compare the clocks of both machines",
    "self-signed certificate": f"signs itself or is of an unknown authority; {_TRUST.format('that certificate')}",
    "unable to get local issuer": f"is of an authority unknown here; {_TRUST.format('the certificate of that one')}",
    "not in peer certificate": "is for another host name; call the server by a name that the certificate has",
    "Hostname Verification": "is for another host name; call the server by a name that the certificate has",
    "CERTIFICATE_VERIFY_FAILED": f"is not accepted; {_TRUST.format('the certificate of its authority')}",
}
"""gRPC's words, the particular before the general, and ours."""
_NO_CONNECTION = "failed to connect"
"""Without it, the connection had stood before."""
_HUNG_UP = ("Socket closed", "Connection reset by peer", "FD Shutdown")


def of_encryption(message: str, address: str, *, tls: bool) -> str:
    """Say what is wrong with the encryption of a call; an empty string if it is something else.

    message: gRPC's. tls: whether the client encrypts.
    """
    if _NO_CONNECTION not in message:
        return ""
    hung_up = any(words in message for words in _HUNG_UP)
    return _encrypted(message, address, hung_up) if tls else _plain(message, address, hung_up)


def _plain(message: str, address: str, hung_up: bool) -> str:
    if hung_up:
        return (
            f"something answers at {address}, but not in plain text; if that server encrypts, try --tls or "
            "--ca-certificate FILE (in Python tls=True or ca_certificate=)"
        )
    if "http1" in message:
        return f"a web server answers at {address}, no whymatch server; give the address of `whymatch serve`"
    return ""


def _encrypted(message: str, address: str, hung_up: bool) -> str:
    plain = message.replace("self signed", "self-signed")
    for words, why in _CERTIFICATES.items():
        if words in plain:
            return f"the certificate of the server at {address} {why}"
    if "WRONG_VERSION_NUMBER" in message:
        return f"something answers at {address}, but not encrypted; try without --tls (in Python tls=False)"
    if hung_up:
        return (
            f"the server at {address} hangs up on the encrypted connection; if it wants to see a certificate, give "
            "--client-certificate and --client-key (in Python client_certificate= and client_key=)"
        )
    return ""
