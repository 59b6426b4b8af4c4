"""Settings of the HTTP server and of what it shows: sockets, CORS, API, metrics, log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from tusd_py.settings.values import (
    BasePath,
    Bool,
    Count,
    CountOrNone,
    Expects,
    HeaderNames,
    Networks,
    Origins,
    PagePath,
    Port,
    PositiveSeconds,
    PositiveSize,
    PublicUrl,
    Section,
    Size,
    Text,
    WholeSeconds,
)

#: Whether to use what proxies may break; "auto" is whenever no proxy shows.
AutoUse = Annotated[Literal["auto", "always", "never"], Expects('"auto", "always" or "never"')]


class ServerSettings(Section):
    """Sockets, TLS, HTTP limits and the number of server processes."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    unix_socket: Text = ""
    systemd_socket: Bool = False
    processes: Count = 1
    base_path: BasePath = "/files/"
    public_url: PublicUrl = ""
    download_url: PublicUrl = ""
    download_redirect: Bool = True
    trusted_proxies: Networks = ()
    forwarded_headers: Annotated[Literal["x-forwarded", "forwarded"], Expects('"x-forwarded" or "forwarded"')] = (
        "x-forwarded"
    )
    location: Annotated[Literal["auto", "path", "absolute"], Expects('"auto", "path" or "absolute"')] = "auto"
    interim_responses: AutoUse = "auto"
    checksum_trailers: AutoUse = "auto"
    refusal_read_bytes_max: Size = 0
    page: Bool = True
    tls_certificate: Text = ""
    tls_key: Text = ""
    keep_alive_seconds: PositiveSeconds = 75
    header_timeout_seconds: PositiveSeconds = 10
    header_bytes_max: PositiveSize = 65536
    send_timeout_seconds: PositiveSeconds = 60
    connections_per_address_max: CountOrNone = 4096
    fast_body: Bool = True
    shutdown_timeout_seconds: PositiveSeconds = 10

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        if self.unix_socket and self.systemd_socket:
            yield "server.unix_socket and server.systemd_socket are both set: set only one of them"
        if bool(self.tls_certificate) != bool(self.tls_key):
            yield ("server.tls_certificate and server.tls_key must be set together: both for HTTPS, neither for HTTP")


class CorsSettings(Section):
    """Which web pages of other origins may use this server."""

    enabled: Bool = True
    allow_origins: Origins = ("*",)
    allow_credentials: Bool = False
    allow_headers: HeaderNames = ()
    expose_headers: HeaderNames = ()
    max_age_seconds: WholeSeconds = 86400

    def problems(self) -> Iterator[str]:
        """One sentence for each combination of values that cannot work."""
        if self.allow_credentials and "*" in self.allow_origins:
            yield (
                'cors.allow_credentials is true while cors.allow_origins has "*": every page on the web could upload '
                "with your users' cookies; name the origins instead"
            )


class ApiSettings(Section):
    """The JSON API for uploads, jobs and events."""

    enabled: Bool = False
    docs: Bool = True


class MetricsSettings(Section):
    """The Prometheus endpoint."""

    enabled: Bool = True
    path: PagePath = "/metrics"


class LogSettings(Section):
    """The log on standard error."""

    format: Annotated[Literal["auto", "text", "json"], Expects('"auto", "text" or "json"')] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], Expects('"debug", "info", "warning" or "error"')] = (
        "info"
    )
    privacy: Bool = False
