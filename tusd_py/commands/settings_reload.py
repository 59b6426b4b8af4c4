"""Reads the settings again in a running server: on SIGHUP, and before ``tusd-py reload`` replaces its program."""

from __future__ import annotations

import logging
import ssl
import sys
from collections.abc import Callable

from tusd_py import logs
from tusd_py.serving.listeners import ListenError, tls_context
from tusd_py.settings import Settings, SettingsError

_log = logging.getLogger("tusd_py.serving")

LoadSettings = Callable[[], Settings]
_RULES = {"validation.digest_keys", "validation.rules", "validation.unmatched"}
_LOG = {"log.format", "log.level", "log.privacy"}
#: Settings that a running server takes over; the certificate also if only the content of its files has changed.
_RELOADED = _RULES | _LOG | {"server.tls_certificate", "server.tls_key"}


class SettingsReloader:
    """Reads the settings again for a running server, which goes on with the old ones if the new ones are wrong."""

    def __init__(self, settings: Settings, load: LoadSettings) -> None:
        self._settings = settings
        self.load = load
        #: Called at each reload with the settings of the start, but for those that are taken over.
        self.on_reload: list[Callable[[Settings], None]] = []

    def reload(self, tls: ssl.SSLContext | None) -> None:
        """Take over the certificate, the log's settings and the rules; log which other changes need a new program."""
        settings = self.read_again()
        if settings is None:
            return
        if tls is not None and settings.server.tls_certificate:
            # Connections that are open keep the certificate that they began with.
            tls.load_cert_chain(settings.server.tls_certificate, settings.server.tls_key)
        logs.configure(settings.log.format, settings.log.level, sys.stderr, privacy=settings.log.privacy)
        for take_over in self.on_reload:
            take_over(with_reloaded(self._settings, settings))
        changed = differing(self._settings, settings)
        needing = ", ".join(name for name in changed if name not in _RELOADED)
        _log.info("reloaded the certificate, the settings of the log and the validation rules")
        if needing:
            _log.warning("changed settings need tusd-py reload or a restart", extra={"settings": needing})

    def read_again(self) -> Settings | None:
        """The settings as they are now; ``None``, with a line in the log for each mistake, if they cannot be used."""
        try:
            settings = self.load()
            tls_context(settings.server)
        except SettingsError as error:
            problems = error.problems
        except ListenError as error:
            problems = [str(error)]
        else:
            return settings
        for problem in problems:
            _log.error("the settings cannot be used, the old ones stay in effect", extra={"reason": problem})
        return None


def with_reloaded(before: Settings, after: Settings) -> Settings:
    """The settings ``before`` with the rules and the log of ``after``."""
    sections: dict[str, dict[str, object]] = {}
    for name in _RULES | _LOG:
        section, _, key = name.partition(".")
        sections.setdefault(section, {})[key] = getattr(getattr(after, section), key)
    return before.model_copy(
        update={name: getattr(before, name).model_copy(update=values) for name, values in sections.items()}
    )


def differing(before: Settings, after: Settings) -> list[str]:
    """The names of the settings that have different values."""
    names = []
    for section in type(before).model_fields:
        old, new = getattr(before, section), getattr(after, section)
        names += [f"{section}.{key}" for key in type(old).model_fields if getattr(old, key) != getattr(new, key)]
    return names
