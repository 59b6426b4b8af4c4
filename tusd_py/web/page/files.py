"""Prepares the files of the page: ``index.html`` in each language, the operator's colours and logo; compresses all."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath
from typing import Any
from urllib.parse import urlsplit

from tusd_py.web.page import colours
from tusd_py.web.page.accepted import ANY_FILE, AcceptedFiles
from tusd_py.web.page.logo import LOGO_TYPES, Logo

#: The files that the page uses, by the extension of their names.
MEDIA_TYPES = LOGO_TYPES | {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
}
#: The language for visitors that accept none of the others.
DEFAULT_LANGUAGE = "en"
_TEXTS = "texts/"
_PLACEHOLDER = re.compile(r"\{\{([a-z_.]+)\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageAccess:
    """The ways of visitors to get access, and the life of the links that the page creates.

    ``anonymous`` is whether they may upload without any; ``link_seconds`` is the life of the download links that the
    page makes, 0 if it makes none.
    """

    login: bool = False
    codes: bool = False
    anonymous: bool = True
    link_seconds: int = 0


EVERYONE = PageAccess()


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOptions:
    """The options of the page, from the operator's settings.

    ``endpoint`` is the public URL of the tus endpoint, or its path below the page (``/files/``). The page gets a path
    as relative to itself, so that it is right behind any prefix that a proxy or a mount adds.
    """

    endpoint: str
    title: str = ""
    colour: str = ""
    logo: Logo | None = None
    length_max: int = 0
    accepted: AcceptedFiles = ANY_FILE
    access: PageAccess = EVERYONE


@dataclass(frozen=True, slots=True)
class PageFile:
    """A file of the page, ready to be sent plain or compressed."""

    body: bytes
    compressed: bytes
    media_type: str
    etag: str


@dataclass(frozen=True, slots=True)
class PageFiles:
    """All files of the page. ``digest`` is part of their paths and changes with any file.

    ``indexes`` has the page itself by language; the default language is the first one of ``languages``.
    """

    digest: str
    languages: tuple[str, ...]
    indexes: Mapping[str, PageFile]
    named: Mapping[str, PageFile]


def prepare(sources: Mapping[str, bytes], options: PageOptions) -> PageFiles:
    """Write the page in each language and compress every file."""
    template = sources["index.html"].decode()
    texts = {PurePath(name).stem: json.loads(body) for name, body in sources.items() if name.startswith(_TEXTS)}
    others = {name: body for name, body in sources.items() if name != "index.html" and not name.startswith(_TEXTS)}
    others |= _own_files(others, options)
    digest = hashlib.sha256(b"".join(name.encode() + body for name, body in sorted(others.items()))).hexdigest()[:16]
    modules = [name for name in sorted(others) if name.endswith(".mjs") and "/" not in name]
    indexes = {
        language: _file(
            "index.html", _index(template, language, of_language, options, f"./page/{digest}", modules).encode()
        )
        for language, of_language in texts.items()
    }
    languages = tuple(sorted(texts, key=lambda language: (language != DEFAULT_LANGUAGE, language)))
    return PageFiles(digest, languages, indexes, {name: _file(name, body) for name, body in others.items()})


def _own_files(sources: Mapping[str, bytes], options: PageOptions) -> dict[str, bytes]:
    """The files that exist, or differ, only because of the operator's settings."""
    files = {}
    if options.colour:
        files["colours.css"] = colours.style_sheet(options.colour).encode()
        files["icon.svg"] = colours.icon(sources["icon.svg"].decode(), options.colour).encode()
    if options.logo is not None:
        files[f"logo{options.logo.extension}"] = options.logo.body
    return files


def _index(
    template: str, language: str, texts: Mapping[str, Any], options: PageOptions, assets: str, modules: Sequence[str]
) -> str:
    """The page in one language."""
    endpoint = options.endpoint
    picture = "icon.svg" if options.logo is None else f"logo{options.logo.extension}"
    values = {f"text.{name}": escape(text) for name, text in texts["page"].items() if isinstance(text, str)}
    values |= {
        "language": language,
        "assets": assets,
        "endpoint": escape(endpoint if urlsplit(endpoint).scheme else "./" + endpoint.lstrip("/")),
        "address": escape(endpoint),
        "title": escape(options.title or texts["page"]["title"]),
        "picture": picture,
        "picture.type": MEDIA_TYPES[PurePath(picture).suffix],
        "links": "\n".join(_links(assets, texts["uppy_locale"], options, modules)),
        "data": _data(language, texts, options),
    }
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)


def _links(assets: str, uppy_locale: str, options: PageOptions, modules: Sequence[str]) -> Iterator[str]:
    """The elements in the head that differ between pages, and those for all modules: no request waits for another."""
    if options.colour:
        yield f'<link rel="stylesheet" href="{assets}/colours.css">'
    packs = [f"vendor/{uppy_locale}.mjs"] if uppy_locale else []
    for name in ("vendor/uppy.min.mjs", *packs, *modules):
        yield f'<link rel="modulepreload" href="{assets}/{name}">'


def _data(language: str, texts: Mapping[str, Any], options: PageOptions) -> str:
    """The data for the scripts of the page, as JSON that is safe inside an element of HTML."""
    accepted = options.accepted
    sizes = [size for size in (options.length_max, accepted.size_max) if size]
    data = {
        "language": language,
        "texts": texts,
        "sizeMin": accepted.size_min,
        "sizeMax": min(sizes, default=0),
        "types": accepted.types,
        "typesByName": accepted.by_name,
        "access": {
            "login": options.access.login,
            "codes": options.access.codes,
            "anonymous": options.access.anonymous,
            "linkSeconds": options.access.link_seconds,
        },
    }
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")


def _file(name: str, body: bytes) -> PageFile:
    # Weak, since the plain and the compressed form share it (RFC 9110, 8.8.3.3: a strong one of an encoded
    # representation "has to be distinct").
    etag = f'W/"{hashlib.sha256(body).hexdigest()[:32]}"'
    return PageFile(body, gzip.compress(body, 6, mtime=0), MEDIA_TYPES[PurePath(name).suffix], etag)
