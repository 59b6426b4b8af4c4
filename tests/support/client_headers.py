"""Headers as clients write them: the server only reads these."""

from __future__ import annotations

from collections.abc import Sequence

from tusd_py.protocol.checksum import Checksum
from tusd_py.protocol.draft.digests import ALGORITHMS
from tusd_py.protocol.draft.structured_fields import format_dictionary
from tusd_py.protocol.headers import format_base64


def checksum_header(checksum: Checksum) -> str:
    """``Upload-Checksum``."""
    return f"{checksum.algorithm} {format_base64(checksum.digest)}"


def final_header(urls: Sequence[str]) -> str:
    """``Upload-Concat`` of the final upload that consists of the uploads at ``urls``."""
    return f"final;{' '.join(urls)}"


def digest_header(checksum: Checksum) -> str:
    """``Content-Digest`` or ``Repr-Digest``, of an algorithm that RFC 9530 registers."""
    (key,) = (key for key, algorithm in ALGORITHMS.items() if algorithm == checksum.algorithm)
    return format_dictionary({key: checksum.digest})
