"""From settings to the limits and the policy of the use cases."""

from __future__ import annotations

from tusd_py.contracts.hooks import HookFunctions
from tusd_py.protocol.rules import Limits
from tusd_py.settings import Settings
from tusd_py.uploads.policy import UploadPolicy
from tusd_py.wiring.jobs import needs_worker, subscriptions


def limits(settings: Settings) -> Limits:
    """The limits and switches of the protocol's rules."""
    uploads = settings.uploads
    return Limits(
        length_max=uploads.length_max,
        metadata_bytes_max=uploads.metadata_bytes_max,
        parts_max=uploads.parts_max,
        append_bytes_max=uploads.append_bytes_max,
        append_bytes_min=uploads.append_bytes_min,
        part_uses_max=uploads.part_uses_max,
        creation_with_upload=uploads.creation_with_upload,
        termination=uploads.termination,
        concatenation=uploads.concatenation,
        downloads=uploads.downloads,
        partial_downloads=uploads.partial_downloads,
        gone_status=uploads.gone_status,
        requires_validation=settings.validation.enabled,
    )


def upload_policy(settings: Settings, functions: HookFunctions) -> UploadPolicy:
    """How the use cases save, expire and process uploads."""
    uploads, expiration = settings.uploads, settings.expiration
    return UploadPolicy(
        save_interval_seconds=uploads.save_interval_seconds,
        save_interval_bytes=uploads.save_interval_bytes,
        save_small_bytes=uploads.save_small_bytes,
        save_small_seconds=uploads.save_small_seconds,
        lock_timeout_seconds=uploads.lock_timeout_seconds,
        concatenate_at_once_bytes_max=uploads.join_at_once_bytes_max,
        unfinished_seconds=expiration.unfinished_seconds,
        finished_seconds=expiration.finished_seconds,
        partial_seconds=expiration.partial_seconds,
        tombstone_seconds=expiration.tombstone_seconds,
        limits=limits(settings),
        # What S3 has answered for survives a loss of power in any case; a durable flush makes the complete object.
        durable_saves=settings.storage.durability == "power" and settings.storage.kind != "s3",
        subscriptions=subscriptions(settings),
        forwarded_headers=frozenset(name.lower().encode() for name in settings.hooks.http_forward_headers),
        steps=settings.steps,
        delete_rejected=settings.validation.rejected == "delete",
        # Functions run in this process: a worker could not invoke pre-finish and post-finish.
        assemble_in_worker=needs_worker(settings) and not functions,
        delete_concatenated_parts=uploads.delete_joined_parts,
    )
