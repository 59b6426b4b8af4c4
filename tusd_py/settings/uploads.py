"""Settings of uploads: their limits, their life, their hooks, events and background work."""

from __future__ import annotations

from typing import Annotated, Literal

from tusd_py.settings.values import (
    Bool,
    Broker,
    Count,
    CountOrNone,
    Expects,
    ForwardedNames,
    HookNames,
    Hosts,
    MediaTypes,
    PositiveSeconds,
    PositiveSize,
    Seconds,
    Section,
    Size,
    Text,
    Urls,
)


class UploadsSettings(Section):
    """What clients may do, and limits for uploads."""

    length_max: Size = 0
    append_bytes_max: Size = 0
    append_bytes_min: Size = 0
    metadata_bytes_max: Size = 8192
    parts_max: Count = 1000
    part_uses_max: Count = 16
    concatenations_per_client_max: Count = 4
    empty_per_client_max: CountOrNone = 10_000
    termination: Bool = True
    concatenation: Bool = True
    concat_hosts: Hosts = ()
    creation_with_upload: Bool = True
    ietf_draft: Bool = True
    downloads: Bool = True
    partial_downloads: Bool = False
    inline_types: MediaTypes = (
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/avif",
        "text/plain",
        "video/mp4",
        "video/webm",
        "audio/mpeg",
        "audio/mp4",
        "audio/ogg",
        "audio/wav",
        "audio/webm",
    )
    gone_status: Annotated[Literal[404, 410], Expects("404 or 410")] = 410
    join_at_once_bytes_max: Size = 64 * 1024**2
    delete_joined_parts: Bool = False
    body_idle_seconds: PositiveSeconds = 60
    body_rate_min: Size = 0
    save_interval_seconds: PositiveSeconds = 1
    save_interval_bytes: PositiveSize = 64 * 1024**2
    save_small_bytes: Size = 64 * 1024
    save_small_seconds: PositiveSeconds = 10
    lock_timeout_seconds: PositiveSeconds = 20


class ExpirationSettings(Section):
    """How long uploads are kept; 0 keeps them indefinitely."""

    unfinished_seconds: Seconds = 604800
    finished_seconds: Seconds = 0
    partial_seconds: Seconds = 604800
    tombstone_seconds: Seconds = 86400
    leftover_seconds: Seconds = 86400
    sweep_interval_seconds: PositiveSeconds = 60


class HooksSettings(Section):
    """Blocking hooks and notification hooks. The keys are named after tusd's flags."""

    enabled_events: HookNames = ("pre-create", "post-create", "post-receive", "post-terminate", "post-finish")
    timeout_seconds: PositiveSeconds = 30
    http_urls: Urls = ()
    http_forward_headers: ForwardedNames = ()
    http_retry: Count = 3
    http_backoff_seconds: Seconds = 1
    http_timeout_seconds: PositiveSeconds = 15
    http_size_limit_bytes: PositiveSize = 5120
    http_skip_verify: Bool = False
    executables_dir: Text = ""
    program_timeout_seconds: PositiveSeconds = 3600


class WorkerSettings(Section):
    """The background worker for webhooks, validation and publishing."""

    mode: Annotated[Literal["embedded", "separate"], Expects('"embedded" or "separate"')] = "embedded"
    broker: Broker = "embedded"
    threads: Count = 16
    lease_seconds: PositiveSeconds = 30
    attempts_max: Count = 30
    time_limit_seconds: PositiveSeconds = 3600
    shutdown_timeout_seconds: PositiveSeconds = 10


class EventsSettings(Section):
    """Which events are recorded, and for how long."""

    record: Bool = False
    keep_seconds: Seconds = 604800
    keep_dead_seconds: Seconds = 2592000
