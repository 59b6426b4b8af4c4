"""Sentences for operators about failed TLS connections, from the texts of OpenSSL, libpq and servers. Pure."""

from __future__ import annotations

_WRONG_NAME = ("does not match host name", "Hostname mismatch", "IP address mismatch")
_REFUSED = (
    "connection requires a valid client certificate",
    "certificate authentication failed",
    "alert unknown ca",
    "ALERT_UNKNOWN_CA",
    "ALERT_CERTIFICATE_REQUIRED",
    "ALERT_BAD_CERTIFICATE",
    "ALERT_CERTIFICATE_EXPIRED",
    # With TLS 1.3 the server refuses after the handshake: its alert may be lost with the connection.
    "EOF occurred in violation of protocol",
)


def tls_problem(server: str, detail: str) -> str:
    """The sentence for ``detail``, the text of a failed connection to ``server``; empty if it is not about TLS."""
    if any(text in detail for text in _WRONG_NAME):
        return f"the certificate of {server} is for another name than the host in the URL"
    if "certificate has expired" in detail:
        return f"the certificate of {server} has expired"
    if "certificate verify failed" in detail:
        return f"the certificate of {server} is not signed by the authority that the URL names"
    if "WRONG_VERSION_NUMBER" in detail or "server does not support SSL" in detail:
        return f"{server} does not use TLS at this port"
    if any(text in detail for text in _REFUSED):
        return f"{server} does not accept the client certificate in the URL, or wants one"
    return ""
