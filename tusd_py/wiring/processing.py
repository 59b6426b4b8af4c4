"""What validates and publishes complete uploads, as the settings ask for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tusd_py.contracts.locker import Locker
from tusd_py.contracts.publisher import Publisher
from tusd_py.contracts.store import Store
from tusd_py.publishing.directory import DirectoryPublisher
from tusd_py.publishing.placement import try_out
from tusd_py.settings import Settings
from tusd_py.uploads.ports import Ports
from tusd_py.wiring.stores import make_bucket_publisher

if TYPE_CHECKING:
    from tusd_py.validation.validator import RuleValidator


def ensure_libmagic() -> None:
    """Load libmagic. Raises ``ValidatorUnavailable``, which says how to install it, if it is missing."""
    from tusd_py.validation import libmagic

    libmagic.detect_type(b"")


def make_publisher(settings: Settings, store: Store, locker: Locker) -> Publisher:
    """The publisher for the directory or the bucket that the settings name."""
    publishing = settings.publishing
    if publishing.bucket is not None:
        return make_bucket_publisher(settings, store, locker)
    directory = Path(publishing.directory).absolute()
    return DirectoryPublisher(
        directory=directory,
        pattern=publishing.pattern,
        links=publishing.mode == "link",
        file_mode=int(publishing.file_mode, 8),
    )


def try_publishing(directory: Path) -> str:
    """Place a test file in the existing ``directory``; return how it was done. Raises ``OSError``."""
    return try_out(directory)


def reload_rules(ports: Ports, settings: Settings) -> None:
    """Let the validators of ``ports`` apply the rules of ``settings``; whether there are any does not change."""
    from tusd_py.validation.validator import RuleValidator

    for validator in (ports.validator, ports.sniffer):
        if isinstance(validator, RuleValidator):
            validator.take_over(make_validator(settings))


def make_validator(settings: Settings) -> RuleValidator:
    """The validator that applies the rules of the settings."""
    # Loaded only where it is used, as libmagic: the modules take half a megabyte.
    from tusd_py.validation.validator import RuleValidator

    validation = settings.validation
    return RuleValidator(
        rules=validation.rules,
        rejects_unmatched=validation.unmatched == "reject",
        digest_keys=validation.digest_keys,
    )
