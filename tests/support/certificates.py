"""Certificates of the test's own, made by openssl."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


def make_certificate(directory: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Write a self-signed certificate for ``name`` into ``directory``; returns its path and that of its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    _openssl("req", "-x509", *_KEY, "-subj", f"/CN={name}", *_DAYS, "-keyout", str(key), "-out", str(certificate))
    return certificate, key


@dataclass(frozen=True)
class Authority:
    """A certificate authority with its files in ``directory``."""

    directory: Path

    @property
    def certificate(self) -> Path:
        return self.directory / "ca.pem"

    def issue(self, name: str, *, host: str = "") -> tuple[Path, Path]:
        """A certificate for ``name``, valid as that of the server ``host`` if one is given, and its key."""
        certificate, key = self.directory / f"{name}.pem", self.directory / f"{name}-key.pem"
        request = self.directory / f"{name}.csr"
        _openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", str(key), "-out", str(request))
        extensions = self.directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName=DNS:{host}\n" if host else "extendedKeyUsage=clientAuth\n")
        signer = ("-CA", str(self.certificate), "-CAkey", str(self.directory / "ca-key.pem"), "-CAcreateserial")
        _openssl(
            *("x509", "-req", "-in", str(request), *signer, *_DAYS),
            *("-extfile", str(extensions), "-out", str(certificate)),
        )
        # libpq refuses a key that others may read.
        key.chmod(0o600)
        return certificate, key


def make_authority(directory: Path) -> Authority:
    """Write the certificate and the key of a new authority into ``directory``."""
    directory.mkdir(exist_ok=True)
    authority = Authority(directory)
    key = str(directory / "ca-key.pem")
    _openssl(
        *("req", "-x509", *_KEY, "-subj", f"/CN={directory.name}", *_DAYS, "-keyout", key),
        *("-out", str(authority.certificate)),
    )
    return authority


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_DAYS = ("-days", "1")


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)
