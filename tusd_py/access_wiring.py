"""A part of ``wiring``: access control as the settings ask for it."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from tusd_py.access.policy import AccessPolicy
from tusd_py.access.ports import AccessPorts
from tusd_py.access.quota import QuotaPolicy
from tusd_py.access.rates import CreationRate, LazyCounter, LoginRate, Rates
from tusd_py.access.signing import TokenSigner, parse_secret
from tusd_py.contracts.key_set import FetchKeys
from tusd_py.contracts.rates import RateCounter
from tusd_py.model.quota import QuotaLimits
from tusd_py.settings import Settings
from tusd_py.settings.access import zone_of

if TYPE_CHECKING:
    from tusd_py.records.sql.database import SqlDatabase


def access_policy(settings: Settings) -> AccessPolicy | None:
    """The policy of access control, or ``None`` while it is off."""
    if not settings.has_access_control:
        return None
    access = settings.access
    return AccessPolicy(allows_anonymous=access.anonymous == "all", claim_seconds=access.claim_seconds)


async def open_access_ports(settings: Settings, database: SqlDatabase | None, now: datetime) -> AccessPorts | None:
    """The backends of access control, or ``None`` while it is off. Raises ``RecordsError``.

    ``database`` is closed then.
    """
    if not settings.has_access_control:
        return None
    secrets = [parse_secret(each) for each in settings.access.secrets]
    if not secrets:
        # Without a database nothing that is signed outlives the process.
        secret = new_secret = token_urlsafe(32)
        if database is not None:
            try:
                secret = await database.signing_keys.find_or_create("default", new_secret, now)
            except BaseException:
                await database.close()
                raise
        secrets = [("default", secret.encode())]
    return AccessPorts(signer=TokenSigner(secrets))


def quota_policy(settings: Settings) -> QuotaPolicy | None:
    """The quotas, or ``None`` while they are off."""
    quotas = settings.quotas
    if not quotas.enabled:
        return None
    limits = QuotaLimits(bytes_per_day=quotas.bytes_per_day or None, bytes_per_month=quotas.bytes_per_month or None)
    return QuotaPolicy(limits=limits, zone=zone_of(quotas.time_zone))


def rates(settings: Settings) -> Rates:
    """The limits on creations and logins, and what counts for them: this process, or Redis for all processes."""
    section = settings.rates
    counter = LazyCounter(lambda: _rate_counter(settings))
    creations = None
    if section.creations_per_minute or section.creations_per_address:
        creations = CreationRate(
            counter=counter, per_minute=section.creations_per_minute, per_address=section.creations_per_address
        )
    logins = LoginRate(
        counter=counter, per_minute=section.failed_logins_per_minute, per_address=section.failed_logins_per_address
    )
    return Rates(counter=counter, logins=logins, creations=creations)


def _rate_counter(settings: Settings) -> RateCounter:
    # Imported here: only servers that count need the library.
    if settings.rates.storage == "redis":
        from tusd_py.access.redis_counter import RedisCounter

        return RedisCounter(settings.redis.url)
    from tusd_py.access.local_counter import LocalCounter

    return LocalCounter()


def key_fetcher(url: str) -> FetchKeys:
    """Fetches the key set at ``jwt.jwks_url``."""
    # Imported here: only servers with this setting need the HTTP library.
    from tusd_py.hooks.key_set import fetch_keys

    return partial(fetch_keys, url)
