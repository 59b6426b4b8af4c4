"""Checks of the Redis servers of locks, rates and jobs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlsplit

from tusd_py.commands.checks.result import Check
from tusd_py.model.tls import tls_problem
from tusd_py.settings import Settings, without_credentials

_REDIS_SECONDS = 1.0


def check_redis(settings: Settings) -> Iterator[Check]:
    """Whether each Redis of the settings answers and can be written to."""
    for url in dict.fromkeys((settings.redis.url, settings.broker_url)):
        if url not in ("", "embedded"):
            yield _redis_at(url, "redis.url" if url == settings.redis.url else "worker.broker")


def _redis_at(url: str, setting: str) -> Check:
    parts = urlsplit(url)
    # Only the host and port, or the path of a socket: a URL may contain passwords in several places.
    name = unquote(parts.path) if parts.scheme == "unix" else parts.netloc.rpartition("@")[2]
    problem = _missing_file(url) or _ping_redis(url)
    if problem is None:
        return Check(True, f"Redis at {name} answers and can be written to")
    return Check(False, f"Redis at {name} cannot be used ({problem}): start it, or change {setting}")


def _missing_file(url: str) -> str | None:
    """What is wrong with the files that the URL names; the library's own error does not name them."""
    for name, value in parse_qsl(urlsplit(url).query):
        if name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
            try:
                with open(value, "rb"):
                    pass
            except OSError as error:
                return f"{name} in its URL is {value}: {error.strerror}"
    return None


def _ping_redis(url: str) -> str | None:
    """Log in to Redis and write to it, for at most ``_REDIS_SECONDS``; return what failed, ``None`` if all is well."""
    problems = [f"no answer within {_REDIS_SECONDS:g} s"]

    def ping() -> None:
        # Imported here: no other command and no server process needs the library.
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.exceptions import AuthenticationError, RedisError, ResponseError
        from redis.retry import Retry

        try:
            with Redis.from_url(
                url,
                socket_connect_timeout=_REDIS_SECONDS,
                socket_timeout=_REDIS_SECONDS,
                retry=Retry(NoBackoff(), 0),
            ) as client:
                client.ping()
                # A server that cannot write (full disk, a replica) answers too. The key expires at once.
                client.set("tusd-py:check", "", px=1)
        except ResponseError as error:
            problems[0] = f"it refuses to write: {without_credentials(str(error))}"
        except AuthenticationError:
            problems[0] = "it refuses the login: check the password in the URL"
        except (RedisError, OSError, ValueError) as error:  # ValueError: the URL has a port that is not a number
            problems[0] = tls_problem("it", str(error)) or without_credentials(str(error))
        else:
            problems.clear()

    # In a thread: resolving the host name is not bounded by the timeouts of the socket.
    thread = threading.Thread(target=ping, daemon=True)
    thread.start()
    thread.join(_REDIS_SECONDS * 3)
    return problems[0] if problems else None
