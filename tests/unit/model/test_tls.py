"""Sentences for failed TLS connections."""

from __future__ import annotations

import pytest

from tusd_py.model.tls import tls_problem

VERIFY = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: "


@pytest.mark.parametrize(
    ("detail", "sentence"),
    [
        ("SSL error: certificate verify failed", "is not signed by the authority"),
        (f"{VERIFY}self-signed certificate in certificate chain (_ssl.c:1006)", "is not signed by the authority"),
        (f"{VERIFY}IP address mismatch, certificate is not valid for '127.0.0.1'", "for another name"),
        (f"{VERIFY}Hostname mismatch, certificate is not valid for 'b'", "for another name"),
        ('server certificate for "a" does not match host name "b"', "for another name"),
        (f"{VERIFY}certificate has expired", "has expired"),
        ("FATAL:  connection requires a valid client certificate", "does not accept the client certificate"),
        ("SSL error: tlsv1 alert unknown ca", "does not accept the client certificate"),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert", "does not accept the client certificate"),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", "does not use TLS at this port"),
        ("server does not support SSL, but SSL was required", "does not use TLS at this port"),
    ],
)
def test_sentence_says_which_side_refuses(detail: str, sentence: str) -> None:
    """The operator learns which side refuses, and which file or name to look at."""
    assert sentence in tls_problem("Redis", detail)
    assert "Redis" in tls_problem("Redis", detail)


def test_other_failures() -> None:
    """Their own text stays."""
    assert "" == tls_problem("Redis", "Connection refused")
