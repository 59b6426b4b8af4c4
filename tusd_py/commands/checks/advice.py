"""Advice about settings that work but may surprise, and the check of the page's logo."""

from __future__ import annotations

from collections.abc import Iterator

from tusd_py.commands.checks.result import Check, warning
from tusd_py.service import page_options
from tusd_py.settings import Settings


def check_limits(settings: Settings) -> Iterator[Check]:
    """Warn of a missing limit, and of interim responses behind a proxy."""
    if settings.uploads.length_max == 0:
        yield warning("uploads.length_max is 0: one upload can fill the disk")
    has_proxy = bool(settings.server.public_url or settings.server.trusted_proxies)
    if settings.server.interim_responses == "always" and has_proxy:
        yield warning(
            'server.interim_responses is "always" behind a proxy: many proxies take an interim response (104) for the '
            'final one; "auto" leaves them out there'
        )


def check_logo(settings: Settings) -> Iterator[Check]:
    """Whether the logo of the page can be read, if there is one."""
    if not settings.has_page or not settings.page.logo:
        return
    try:
        page_options(settings)
    except OSError as error:
        yield Check(False, str(error))
    else:
        yield Check(True, f"the logo of the page is {settings.page.logo}")
