"""A part of ``wiring``: access control as the settings ask for it."""

from __future__ import annotations

from functools import partial

from tusd_py.access.policy import AccessPolicy
from tusd_py.access.quota import QuotaPolicy
from tusd_py.contracts.key_set import FetchKeys
from tusd_py.contracts.rates import CreationRate
from tusd_py.model.quota import QuotaLimits
from tusd_py.settings import Settings
from tusd_py.settings.access import zone_of


def access_policy(settings: Settings) -> AccessPolicy | None:
    """The policy of access control, or ``None`` while it is off."""
    if not settings.has_access_control:
        return None
    access = settings.access
    return AccessPolicy(allows_anonymous=access.anonymous == "all", claim_seconds=access.claim_seconds)


def quota_policy(settings: Settings) -> QuotaPolicy | None:
    """The quotas, or ``None`` while they are off."""
    quotas = settings.quotas
    if not quotas.enabled:
        return None
    limits = QuotaLimits(bytes_per_day=quotas.bytes_per_day or None, bytes_per_month=quotas.bytes_per_month or None)
    return QuotaPolicy(limits=limits, zone=zone_of(quotas.time_zone))


def creation_rate(settings: Settings) -> CreationRate | None:
    """The limit on creations, or ``None`` if there is none."""
    rates = settings.rates
    if not rates.creations_per_minute:
        return None
    # Imported here: only servers with this setting need the library.
    from tusd_py.access.rates import WindowedCreationRate

    return WindowedCreationRate(rates.creations_per_minute)


def key_fetcher(url: str) -> FetchKeys:
    """Fetches the key set at ``jwt.jwks_url``."""
    # Imported here: only servers with this setting need the HTTP library.
    from tusd_py.hooks.key_set import fetch_keys

    return partial(fetch_keys, url)
