"""Files of text of many types, with the types that browsers and other clients declare for them."""

from __future__ import annotations

import plistlib
from collections.abc import Iterator
from typing import NamedTuple

from tests.support import samples

SVG_ROOT = b'<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><rect/></svg>\n'


class FileType(NamedTuple):
    """A file with the types that honest clients declare for it."""

    name: str
    content: bytes
    declared: tuple[str, ...]


def text_files() -> Iterator[FileType]:
    """Every file of text of the corpus."""
    yield from _data()
    yield from _markup_and_code()
    yield from _messages()


def _data() -> Iterator[FileType]:
    excel = "application/vnd.ms-excel"  # Windows with Excel declares it
    semicolons = b"name;age;city\nAda;36;London\nAlan;41;Wilmslow\n"
    yield FileType(
        "csv", samples.CSV, ("text/csv", excel, "application/csv", "text/comma-separated-values", "text/plain")
    )
    yield FileType("csv, semicolons", semicolons, ("text/csv", excel, "text/x-csv"))
    yield FileType("tsv", semicolons.replace(b";", b"\t"), ("text/tab-separated-values", excel, "text/tsv"))
    yield FileType("txt", samples.TEXT, ("text/plain", "application/octet-stream", "text/x-log"))
    yield FileType("txt, UTF-16", "\ufeffwords, and nothing else\n".encode("utf-16-le"), ("text/plain",))
    yield FileType("txt, latin-1", "café crème\n".encode("latin-1"), ("text/plain",))
    yield FileType("md", b"# Title\n\nSome *words*.\n", ("text/markdown", "text/x-markdown", "text/plain"))
    yield FileType("json", samples.JSON, ("application/json", "text/json", "application/ld+json", "text/plain"))
    yield FileType("geojson", b'{"type": "FeatureCollection", "features": []}\n', ("application/geo+json",))
    yield FileType("ndjson", b'{"a": 1}\n{"a": 2}\n', ("application/x-ndjson", "application/ndjson"))
    yield FileType("ipynb", b'{"cells": [], "nbformat": 4}\n', ("application/x-ipynb+json",))
    yield FileType("yaml", b"a: 1\nb:\n  - 2\n", ("application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"))
    yield FileType("toml", b"[a]\nb = 1\n", ("application/toml",))
    yield FileType("xml", b'<?xml version="1.0"?>\n<a><b/></a>\n', ("text/xml", "application/xml"))
    yield FileType("rss", b'<?xml version="1.0"?>\n<rss version="2.0"><channel/></rss>\n', ("application/rss+xml",))
    yield FileType("kml", b'<?xml version="1.0"?>\n<kml/>\n', ("application/vnd.google-earth.kml+xml",))
    yield FileType("gpx", b'<?xml version="1.0"?>\n<gpx version="1.1"/>\n', ("application/gpx+xml",))
    yield FileType("plist", plistlib.dumps({"a": 1}), ("application/x-plist", "application/xml", "text/xml"))


def _markup_and_code() -> Iterator[FileType]:
    yield FileType("html", samples.HTML, ("text/html",))
    yield FileType("html, comment first", b"<!-- made by hand -->\n" + samples.HTML, ("text/html",))
    xhtml = b'<?xml version="1.0"?>\n<html xmlns="http://www.w3.org/1999/xhtml"><body/></html>\n'
    yield FileType("xhtml", xhtml, ("application/xhtml+xml",))
    yield FileType("css", b"body { margin: 0; }\n", ("text/css",))
    yield FileType(
        "js",
        b"const a = 1;\nexport default a;\n",
        ("text/javascript", "application/javascript", "application/x-javascript"),
    )
    yield FileType("ts", b"const a: number = 1;\n", ("application/typescript", "text/x-typescript", "video/mp2t")[:2])
    yield FileType("py", b"#!/usr/bin/env python3\nimport os\nprint(os)\n", ("text/x-python", "text/x-python-script"))
    yield FileType(
        "sh",
        b"#!/bin/sh\necho hello\n",
        ("application/x-sh", "text/x-sh", "application/x-shellscript", "text/x-shellscript"),
    )
    yield FileType("sh, no first line", b"echo hello\nexit 0\n", ("application/x-sh", "application/x-shellscript"))
    yield FileType(
        "php", b"<?php\necho 1;\n", ("application/x-httpd-php", "application/x-php", "text/x-php", "text/php")
    )
    yield FileType("php, HTML first", samples.HTML + b"<?php echo 1; ?>\n", ("application/x-httpd-php",))
    yield FileType("rb", b"#!/usr/bin/env ruby\nputs 1\n", ("application/x-ruby", "text/x-ruby"))
    yield FileType("pl", b"#!/usr/bin/perl\nprint 1;\n", ("application/x-perl", "text/x-perl"))
    yield FileType(
        "bat", b"@echo off\r\necho hello\r\n", ("application/x-bat", "application/bat", "text/x-msdos-batch")
    )
    yield FileType("c", b"#include <stdio.h>\nint main(void) { return 0; }\n", ("text/x-c", "text/x-csrc"))
    yield FileType(
        "java", b"package a;\nimport java.util.List;\npublic class A {}\n", ("text/x-java", "text/x-java-source")
    )
    yield FileType("go", b"package main\nfunc main() {}\n", ("text/x-go",))
    yield FileType("sql", b"CREATE TABLE t (a int);\n", ("application/sql", "application/x-sql", "text/x-sql"))
    yield FileType(
        "tex",
        b"\\documentclass{article}\n\\begin{document}\\end{document}\n",
        ("application/x-tex", "text/x-tex", "application/x-latex"),
    )


def _messages() -> Iterator[FileType]:
    yield FileType("ics", b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n", ("text/calendar",))
    yield FileType("vcf", b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\nEND:VCARD\r\n", ("text/vcard", "text/x-vcard"))
    yield FileType("srt", b"1\r\n00:00:01,000 --> 00:00:02,000\r\nHello\r\n", ("application/x-subrip",))
    yield FileType("vtt", b"WEBVTT\n\n00:01.000 --> 00:02.000\nHello\n", ("text/vtt",))
    yield FileType(
        "eml", b"From: a@example.com\r\nTo: b@example.com\r\nSubject: x\r\n\r\nHello\r\n", ("message/rfc822",)
    )
    yield FileType(
        "mbox", b"From a@example.com Thu Jan  1 00:00:00 1970\nFrom: a@example.com\n\nHello\n", ("application/mbox",)
    )
    certificate = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    yield FileType(
        "pem",
        certificate,
        ("application/x-pem-file", "application/x-x509-ca-cert", "application/pem-certificate-chain"),
    )
    yield FileType(
        "asc",
        b"-----BEGIN PGP SIGNATURE-----\n\niQ\n-----END PGP SIGNATURE-----\n",
        ("application/pgp-signature", "text/plain"),
    )
    yield FileType("ini", b"[section]\nkey = value\n", ("text/plain", "application/x-wine-extension-ini"))
    yield FileType("dxf", b"  0\nSECTION\n  2\nHEADER\n  9\n$ACADVER\n", ("image/vnd.dxf", "application/dxf"))
    yield FileType("obj", b"v 0 0 0\nv 1 0 0\nf 1 2 3\n", ("model/obj",))
    yield FileType(
        "stl, text",
        b"solid a\nfacet normal 0 0 1\nendsolid a\n",
        ("model/stl", "application/sla", "application/vnd.ms-pki.stl"),
    )
    yield FileType("gcode", b"; generated\nG28\nG1 X0\n", ("text/x.gcode", "text/x-gcode"))
    yield FileType("diff", b"--- a\n+++ b\n@@ -1 +1 @@\n-a\n+b\n", ("text/x-diff", "text/x-patch"))
