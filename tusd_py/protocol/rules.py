"""May this request touch this upload now? Pure decisions, named after the request's verb; each returns or raises.

The order of checks within a rule is part of the protocol: where the specification fixes it, it is quoted.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the operator allows. 0 means without limit where a maximum is given."""

    length_max: int = 0  # bytes of one upload (Tus-Max-Size)
    metadata_bytes_max: int = 8192  # the Upload-Metadata header
    parts_max: int = 1000  # partial uploads in one final upload
    concat_bytes_max: int = 131072  # the Upload-Concat header
    creation_with_upload: bool = True
    termination: bool = True
    concatenation: bool = True
    downloads: bool = True
    partial_downloads: bool = False  # GET of what is there of an unfinished upload
    gone_status: int = 410  # or 404, for clients that start anew only on that
