"""Access control as the settings ask for it: policy, credentials, quotas, rates."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from secrets import token_urlsafe
from typing import TYPE_CHECKING

from tusd_py.access import api_keys
from tusd_py.access.account_tokens import AccountTokenVerifier
from tusd_py.access.accounts import AccountEditor
from tusd_py.access.api_keys import ApiKeyVerifier
from tusd_py.access.bandwidth import Bandwidth
from tusd_py.access.body_slots import BodySlots
from tusd_py.access.codes import CODE_PREFIX, CodeVerifier
from tusd_py.access.download_tokens import PREFIX as DOWNLOAD_PREFIX
from tusd_py.access.download_tokens import DownloadTokenVerifier
from tusd_py.access.links import LINK_PREFIX, LinkVerifier
from tusd_py.access.login import ACCESS_PREFIX, METHOD, Logins
from tusd_py.access.passwords import Passwords
from tusd_py.access.policy import AccessPolicy
from tusd_py.access.ports import AccessPorts, GrantTerms
from tusd_py.access.quota import QuotaPolicy
from tusd_py.access.rates import CreationRate, LazyCounter, LoginRate, Rates
from tusd_py.access.signing import TokenSigner, parse_secret
from tusd_py.contracts.credentials import CredentialCheck, TokenVerifier
from tusd_py.contracts.key_set import FetchKeys
from tusd_py.contracts.rate_counter import RateCounter
from tusd_py.contracts.signing_keys import SigningKeys
from tusd_py.model.quota import QuotaLimits
from tusd_py.settings import AccountsSettings, Settings
from tusd_py.settings.access import zone_of

if TYPE_CHECKING:
    from tusd_py.records.sql.database import SqlDatabase


def access_policy(settings: Settings) -> AccessPolicy | None:
    """The policy of access control, or ``None`` while it is off."""
    if not settings.has_access_control:
        return None
    access = settings.access
    return AccessPolicy(allows_anonymous=access.anonymous == "all", claim_seconds=access.claim_seconds)


async def open_access_ports(
    settings: Settings, database: SqlDatabase | None, clock: Callable[[], datetime], rate: LoginRate
) -> AccessPorts | None:
    """The backends of access control, or ``None`` while it is off. Raises ``RecordsError`` or ``OSError``.

    ``database`` is closed then.
    """
    if not settings.has_access_control:
        return None
    try:
        return await _open_access_ports(settings, database, clock, rate)
    except BaseException:
        if database is not None:
            await database.close()
        raise


async def _open_access_ports(
    settings: Settings, database: SqlDatabase | None, clock: Callable[[], datetime], rate: LoginRate
) -> AccessPorts:
    signer = await _signer(settings, None if database is None else database.signing_keys, clock())
    if database is None:
        return AccessPorts(signer=signer, clock=clock)
    logins, editor, verifiers, checks = None, None, dict[bytes, TokenVerifier](), dict[str, CredentialCheck]()
    if settings.server.download_url:
        verifiers[DOWNLOAD_PREFIX] = DownloadTokenVerifier(signer, clock)
    if settings.accounts.enabled:
        logins = _logins(settings.accounts, database, signer, clock, rate)
        editor = AccountEditor(
            accounts=database.accounts,
            passwords=logins.passwords,
            clock=clock,
            characters_min=settings.accounts.password_characters_min,
        )
        tokens = AccountTokenVerifier(
            database.accounts, signer, clock, time.monotonic, settings.jwt.expired_head_seconds
        )
        verifiers[ACCESS_PREFIX.encode()] = checks[METHOD] = tokens
    if settings.accounts.api_keys:
        keys = ApiKeyVerifier(database.api_keys, database.accounts, clock, time.monotonic)
        verifiers[api_keys.PREFIX.encode()] = checks[api_keys.METHOD] = keys
    if settings.links.enabled:
        verifiers[LINK_PREFIX] = checks["link"] = LinkVerifier(database.links, signer, clock)
    if settings.codes.enabled:
        verifiers[CODE_PREFIX] = checks["code"] = CodeVerifier(database.codes, signer, clock)
    return AccessPorts(
        signer=signer,
        clock=clock,
        verifiers=verifiers,
        checks=checks,
        accounts=database.accounts,
        api_keys=database.api_keys,
        logins=logins,
        editor=editor,
        links=database.links if settings.links.enabled else None,
        codes=database.codes if settings.codes.enabled else None,
        terms=GrantTerms(
            link_seconds_max=settings.links.seconds_max,
            code_seconds_max=settings.codes.seconds_max,
            code_token_seconds=settings.codes.token_seconds,
        ),
    )


async def _signer(settings: Settings, keys: SigningKeys | None, now: datetime) -> TokenSigner:
    secrets = [parse_secret(each) for each in settings.access.secrets]
    if not secrets:
        # Without a database nothing that is signed outlives the process.
        secret = token_urlsafe(32)
        if keys is not None:
            secret = await keys.find_or_create("default", secret, now)
        secrets = [("default", secret.encode())]
    return TokenSigner(secrets)


def _logins(
    accounts: AccountsSettings,
    database: SqlDatabase,
    signer: TokenSigner,
    clock: Callable[[], datetime],
    rate: LoginRate,
) -> Logins:
    return Logins(
        accounts=database.accounts,
        passwords=passwords(),
        rate=rate,
        signer=signer,
        clock=clock,
        access_seconds=accounts.access_seconds,
        session_seconds=accounts.session_seconds,
        sessions_max=accounts.sessions_max,
    )


def passwords() -> Passwords:
    """Hashes passwords. Raises ``OSError`` with a sentence for the operator without the extra ``accounts``."""
    try:
        # Imported here: only servers with accounts need the library.
        from argon2 import PasswordHasher
    except ImportError:
        raise OSError("passwords need the package argon2-cffi: install tusd-py[accounts]") from None
    return Passwords(PasswordHasher())


def quota_policy(settings: Settings) -> QuotaPolicy | None:
    """The quotas, or ``None`` while they are off."""
    quotas = settings.quotas
    if not quotas.enabled:
        return None
    limits = QuotaLimits(
        bytes_per_day=quotas.bytes_per_day or None,
        bytes_per_month=quotas.bytes_per_month or None,
        files_per_day=quotas.files_per_day or None,
        files_per_month=quotas.files_per_month or None,
        bytes_stored=quotas.bytes_stored or None,
        uploads_at_once=quotas.uploads_at_once or None,
    )
    return QuotaPolicy(
        limits=limits,
        zone=zone_of(quotas.time_zone),
        counts_now=bool(quotas.bytes_stored or quotas.uploads_at_once),
        deletes_rejected=settings.validation.enabled and settings.validation.rejected == "delete",
    )


def rates(settings: Settings) -> Rates:
    """How often and how fast clients may do something.

    Creations and logins are counted by this process, or by Redis for all processes.
    """
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
    bodies = bandwidth = None
    if section.uploads_receiving_at_once:
        bodies = BodySlots(section.uploads_receiving_at_once, section.wait_seconds)
    if section.bytes_per_second_per_upload or section.bytes_per_second_per_owner:
        bandwidth = Bandwidth(section.bytes_per_second_per_upload, section.bytes_per_second_per_owner)
    return Rates(counter=counter, logins=logins, creations=creations, bodies=bodies, bandwidth=bandwidth)


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
