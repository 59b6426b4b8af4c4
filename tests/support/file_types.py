"""Files of more than a hundred types, made here, with the types that browsers and other clients declare for them.

Each file is the shortest that has what detectors look at. The names come from Chromium, Firefox and Safari on Windows,
macOS and Linux, and from curl and Python's ``mimetypes``.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import plistlib
import sqlite3
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from functools import cache

from tests.support import samples
from tests.support.text_types import SVG_ROOT, FileType, text_files

_OOXML = "application/vnd.openxmlformats-officedocument."
_ODF = "application/vnd.oasis.opendocument."


def _zip(*members: tuple[str, bytes], stored: bool = False) -> bytes:
    """A zip with ``members`` in their order, as ``zipfile`` writes it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _ooxml(part: str, content_type: str) -> bytes:
    """An Office document in the order that Office writes."""
    types = f'<?xml version="1.0"?><Types><Override PartName="/{part}" ContentType="{content_type}"/></Types>'.encode()
    relations = b'<?xml version="1.0"?><Relationships/>'
    return _zip(
        ("[Content_Types].xml", types), ("_rels/.rels", relations), (part, b"<x/>"), ("docProps/app.xml", b"<x/>")
    )


def _with_mimetype(media_type: str) -> bytes:
    """An OpenDocument file or an EPUB: its first member is its type, not compressed."""
    return _zip(("mimetype", media_type.encode()), ("META-INF/container.xml", b"<x/>"), stored=True)


def _ole(stream: str) -> bytes:
    """A compound file (OLE 2) with one directory entry besides its root."""
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<IIIIIIIII", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header += struct.pack("<I", 0) + b"\xff" * 4 * 108
    fat = struct.pack("<II", 0xFFFFFFFD, 0xFFFFFFFE) + b"\xff" * 504
    directory = b""
    for name, kind, child in (("Root Entry", 5, 1), (stream, 2, 0xFFFFFFFF), ("", 0, 0xFFFFFFFF), ("", 0, 0xFFFFFFFF)):
        text = name.encode("utf-16-le")
        directory += text.ljust(64, b"\0") + struct.pack("<HBB", len(text) + 2 if name else 0, kind, 1)
        directory += struct.pack("<III", 0xFFFFFFFF, 0xFFFFFFFF, child) + bytes(16 + 4 + 16)
        directory += struct.pack("<III", 0xFFFFFFFE, 0, 0)
    return header + fat + directory


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.txt"))
    return buffer.getvalue()


def _sqlite() -> bytes:
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE t (a)")
        return database.serialize()


def _riff(form: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    body = form + b"".join(name + struct.pack("<I", len(data)) + data for name, data in chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _iff(kind: bytes, form: bytes, data: bytes) -> bytes:
    return kind + struct.pack(">I", len(data) + 4) + form + data


def _box(brand: bytes, *compatible: bytes) -> bytes:
    """The beginning of an ISO base media file of ``brand``."""
    body = b"ftyp" + brand + bytes(4) + b"".join(compatible)
    return struct.pack(">I", len(body) + 4) + body + struct.pack(">I", 16) + b"mdat" + bytes(64)


def _ebml(doctype: bytes) -> bytes:
    body = bytes.fromhex("4286810142f7810142f2810442f38108") + b"\x42\x82" + bytes([0x80 + len(doctype)]) + doctype
    body += bytes.fromhex("42878104") + bytes.fromhex("42858102")
    return bytes.fromhex("1a45dfa3") + bytes([0x80 + len(body)]) + body + bytes.fromhex("18538067") + bytes(64)


def _ogg(first: bytes) -> bytes:
    page = b"OggS\0\x02" + bytes(8) + struct.pack("<II", 1, 0) + bytes(4) + bytes([1, len(first)])
    return page + first + bytes(64)


def _tiff(*, big: bool = False, tags: tuple[tuple[int, int, int, int], ...] = ()) -> bytes:
    order = ">" if big else "<"
    entries = ((256, 3, 1, 1), (257, 3, 1, 1), (259, 3, 1, 1), *tags)
    head = (b"MM\0*" if big else b"II*\0") + struct.pack(f"{order}I", 8) + struct.pack(f"{order}H", len(entries))
    return head + b"".join(struct.pack(f"{order}HHII", *entry) for entry in entries) + bytes(64)


def _asf() -> bytes:
    return bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + struct.pack("<QI", 30, 0) + b"\1\2" + bytes(64)


def _font(version: bytes) -> bytes:
    tables = (b"GDEF", b"OS/2", b"cmap", b"glyf", b"head", b"hhea", b"hmtx", b"loca", b"maxp", b"name", b"post")
    head = version + struct.pack(">HHHH", len(tables), 128, 3, 48)
    return head + b"".join(name + struct.pack(">III", 0, 300, 10) for name in tables) + bytes(100)


def _elf(kind: int) -> bytes:
    return (
        b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", kind, 62, 1, 0, 64, 0, 0, 64, 56, 0, 64, 0, 0)
    )


@cache
def honest_files() -> tuple[FileType, ...]:
    """Every file of the corpus."""
    kinds = (
        _documents,
        text_files,
        _images,
        _sounds,
        _videos,
        _archives,
        _zipped,
        _images_and_packages,
        _programs,
        _others,
    )
    return tuple(file for kind in kinds for file in kind())


def _documents() -> Iterator[FileType]:
    for name, part, kind, declared in (
        ("docx", "word/document.xml", "wordprocessingml.document", f"{_OOXML}wordprocessingml.document"),
        ("dotx", "word/document.xml", "wordprocessingml.template", f"{_OOXML}wordprocessingml.template"),
        ("xlsx", "xl/workbook.xml", "spreadsheetml.sheet", f"{_OOXML}spreadsheetml.sheet"),
        ("pptx", "ppt/presentation.xml", "presentationml.presentation", f"{_OOXML}presentationml.presentation"),
        ("ppsx", "ppt/presentation.xml", "presentationml.slideshow", f"{_OOXML}presentationml.slideshow"),
        ("docm", "word/document.xml", "word.document.macroEnabled", "application/vnd.ms-word.document.macroEnabled.12"),
        ("xlsm", "xl/workbook.xml", "excel.sheet.macroEnabled", "application/vnd.ms-excel.sheet.macroEnabled.12"),
        ("xlsb", "xl/workbook.bin", "excel.sheet.binary", "application/vnd.ms-excel.sheet.binary.macroEnabled.12"),
        ("xltm", "xl/workbook.xml", "excel.template", "application/vnd.ms-excel.template.macroEnabled.12"),
        ("pptm", "ppt/presentation.xml", "powerpoint", "application/vnd.ms-powerpoint.presentation.macroEnabled.12"),
        ("vsdx", "visio/document.xml", "visio.drawing", "application/vnd.ms-visio.drawing.main+xml"),
    ):
        yield FileType(name, _ooxml(part, f"application/vnd.{kind}.main+xml"), (declared,))
    for name, kind in (
        ("odt", "text"),
        ("ods", "spreadsheet"),
        ("odp", "presentation"),
        ("odg", "graphics"),
        ("ott", "text-template"),
    ):
        yield FileType(name, _with_mimetype(_ODF + kind), (_ODF + kind,))
    yield FileType("epub", _with_mimetype("application/epub+zip"), ("application/epub+zip",))
    yield FileType("doc", _ole("WordDocument"), ("application/msword",))
    yield FileType("xls", _ole("Workbook"), ("application/vnd.ms-excel", "application/msexcel"))
    yield FileType("ppt", _ole("PowerPoint Document"), ("application/vnd.ms-powerpoint",))
    yield FileType("msg", _ole("__properties_version1.0"), ("application/vnd.ms-outlook",))
    yield FileType("vsd", _ole("VisioDocument"), ("application/vnd.visio", "application/vnd.ms-visio"))
    yield FileType("msi", _ole("\u4840\u3f3f"), ("application/x-msi", "application/x-ms-installer"))
    yield FileType("pdf", samples.PDF, ("application/pdf", "application/x-pdf", "application/acrobat"))
    yield FileType("rtf", b"{\\rtf1\\ansi hello\\par}", ("application/rtf", "text/rtf", "application/msword"))
    yield FileType("ps", b"%!PS-Adobe-3.0\n%%Pages: 1\nshowpage\n", ("application/postscript",))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 1 1\nshowpage\n"
    yield FileType("eps", eps, ("application/postscript", "image/x-eps", "application/eps"))
    yield FileType("djvu", b"AT&TFORM\0\0\0\x40DJVUINFO" + bytes(60), ("image/vnd.djvu", "image/x-djvu"))
    yield FileType("mobi", bytes(60) + b"BOOKMOBI" + bytes(64), ("application/x-mobipocket-ebook",))


def _images() -> Iterator[FileType]:
    yield FileType("png", samples.PNG, ("image/png", "image/x-png"))
    yield FileType("jpg", samples.JPEG, ("image/jpeg", "image/jpg", "image/pjpeg"))
    yield FileType("gif", samples.GIF, ("image/gif",))
    yield FileType("webp", samples.WEBP, ("image/webp",))
    bitmap = (
        b"BM"
        + struct.pack("<IHHI", 58, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 24, 0, 4, 2835, 2835, 0, 0)
        + bytes(4)
    )
    yield FileType("bmp", bitmap, ("image/bmp", "image/x-ms-bmp", "image/x-bmp"))
    yield FileType("tif", _tiff(), ("image/tiff", "image/tif")[:1])
    yield FileType("tif, Motorola", _tiff(big=True), ("image/tiff",))
    yield FileType("dng", _tiff(tags=((0xC612, 1, 4, 0x0401),)), ("image/x-adobe-dng", "image/dng", "image/tiff"))
    yield FileType("nef", _tiff(big=True, tags=((271, 2, 18, 200),)), ("image/x-nikon-nef", "image/nef"))
    yield FileType("cr2", b"II*\0\x10\0\0\0CR\x02\0" + bytes(64), ("image/x-canon-cr2",))
    yield FileType("arw", _tiff(tags=((271, 2, 5, 200),)), ("image/x-sony-arw",))
    yield FileType("heic", _box(b"heic", b"mif1", b"heic"), ("image/heic", "image/heif"))
    yield FileType("heic, mif1", _box(b"mif1", b"mif1", b"heic"), ("image/heic", "image/heif"))
    yield FileType("avif", _box(b"avif", b"mif1", b"avif"), ("image/avif",))
    yield FileType("jxl", bytes.fromhex("0000000c4a584c200d0a870a") + _box(b"jxl "), ("image/jxl",))
    yield FileType("jp2", bytes.fromhex("0000000c6a5020200d0a870a") + _box(b"jp2 ", b"jp2 "), ("image/jp2",))
    yield FileType(
        "ico",
        struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, 40, 22) + bytes(64),
        ("image/x-icon", "image/vnd.microsoft.icon"),
    )
    yield FileType(
        "psd",
        b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 1, 1, 8, 3) + bytes(40),
        ("image/vnd.adobe.photoshop", "image/x-photoshop", "application/x-photoshop", "application/photoshop"),
    )
    yield FileType("xcf", b"gimp xcf file\0" + bytes(40), ("image/x-xcf",))
    yield FileType("ppm", b"P6\n1 1\n255\n\0\0\0", ("image/x-portable-pixmap",))
    yield FileType("pgm", b"P5\n1 1\n255\n\0", ("image/x-portable-graymap",))
    yield FileType(
        "exr", bytes.fromhex("762f3101") + struct.pack("<I", 2) + b"channels\0chlist\0" + bytes(64), ("image/x-exr",)
    )
    yield FileType("emf", struct.pack("<II", 1, 88) + bytes(32) + b" EMF" + bytes(60), ("image/emf", "image/x-emf"))
    yield FileType("wmf", bytes.fromhex("d7cdc69a") + bytes(60), ("image/wmf", "image/x-wmf"))
    yield FileType("dwg", b"AC1032" + bytes(120), ("image/vnd.dwg", "application/acad", "image/x-dwg"))
    yield FileType("svg", samples.SVG, ("image/svg+xml",))
    yield FileType("svg, comment first", b"<!-- Created with care -->\n" + SVG_ROOT, ("image/svg+xml",))
    long = b"<?xml version='1.0'?>\n<!--" + b" long" * 900 + b"-->\n" + SVG_ROOT
    yield FileType("svg, long comment first", long, ("image/svg+xml",))
    yield FileType("svg, byte order mark", b"\xef\xbb\xbf" + SVG_ROOT, ("image/svg+xml",))
    doctype = b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">\n'
    yield FileType("svg, document type", doctype + SVG_ROOT, ("image/svg+xml",))
    yield FileType("svgz", gzip.compress(samples.SVG, mtime=0), ("image/svg+xml-compressed",))


def _sounds() -> Iterator[FileType]:
    yield FileType(
        "mp3",
        b"ID3\4\0\0\0\0\0\0" + b"\xff\xfb\x90\x64" + bytes(413),
        ("audio/mpeg", "audio/mp3", "audio/x-mp3", "audio/x-mpeg"),
    )
    yield FileType("mp3, no ID3", (b"\xff\xfb\x90\x64" + bytes(413)) * 3, ("audio/mpeg", "audio/mp3"))
    format_chunk = struct.pack("<HHIIHH", 1, 1, 8000, 8000, 1, 8)
    yield FileType(
        "wav",
        _riff(b"WAVE", (b"fmt ", format_chunk), (b"data", bytes(8))),
        ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave"),
    )
    yield FileType(
        "flac",
        b"fLaC\0\0\0\x22" + struct.pack(">HH", 4096, 4096) + bytes(6) + bytes.fromhex("0ac44170") + bytes(60),
        ("audio/flac", "audio/x-flac"),
    )
    yield FileType("ogg", _ogg(b"\x01vorbis" + bytes(23)), ("audio/ogg", "audio/x-vorbis+ogg", "application/ogg"))
    yield FileType("opus", _ogg(b"OpusHead\x01" + bytes(10)), ("audio/ogg", "audio/opus"))
    yield FileType("m4a", _box(b"M4A ", b"M4A ", b"mp42"), ("audio/mp4", "audio/x-m4a", "audio/m4a"))
    yield FileType(
        "aac", b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(64), ("audio/aac", "audio/x-aac", "audio/vnd.dlna.adts")
    )
    yield FileType("aiff", _iff(b"FORM", b"AIFF", b"COMM" + bytes(40)), ("audio/aiff", "audio/x-aiff"))
    yield FileType("mid", b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk\0\0\0\0", ("audio/midi", "audio/mid", "audio/x-midi"))
    yield FileType("amr", b"#!AMR\n" + bytes(32), ("audio/amr", "audio/AMR"))
    yield FileType("wma", _asf(), ("audio/x-ms-wma",))
    yield FileType(
        "au", b".snd" + struct.pack(">IIIII", 24, 8, 1, 8000, 1) + bytes(8), ("audio/basic", "audio/x-au")[:1]
    )
    yield FileType("ac3", bytes.fromhex("0b77") + bytes(64), ("audio/ac3",))
    yield FileType("weba", _ebml(b"webm"), ("audio/webm",))


def _videos() -> Iterator[FileType]:
    yield FileType("mp4", samples.MP4, ("video/mp4", "application/mp4", "video/x-m4v", "audio/mp4"))
    yield FileType("m4v", _box(b"M4V ", b"M4V ", b"mp42"), ("video/x-m4v", "video/mp4"))
    yield FileType("mov", _box(b"qt  ", b"qt  "), ("video/quicktime",))
    yield FileType("3gp", _box(b"3gp5", b"3gp5"), ("video/3gpp", "audio/3gpp"))
    yield FileType("3g2", _box(b"3g2a", b"3g2a"), ("video/3gpp2",))
    yield FileType("webm", _ebml(b"webm"), ("video/webm",))
    yield FileType("mkv", _ebml(b"matroska"), ("video/x-matroska", "video/matroska"))
    yield FileType(
        "avi",
        _riff(b"AVI ", (b"LIST", b"hdrlavih" + bytes(60))),
        ("video/x-msvideo", "video/avi", "video/msvideo", "video/vnd.avi"),
    )
    yield FileType("wmv", _asf(), ("video/x-ms-wmv", "video/x-ms-asf"))
    yield FileType("flv", b"FLV\1\5\0\0\0\x09" + bytes(32), ("video/x-flv",))
    yield FileType("mpg", bytes.fromhex("000001ba4400040004010000") + bytes(64), ("video/mpeg", "video/x-mpeg"))
    yield FileType("mts", (b"G\x40\x00\x10" + bytes(184)) * 4, ("video/mp2t", "video/vnd.dlna.mpeg-tts"))
    yield FileType("ogv", _ogg(b"\x80theora\3\2\1" + bytes(31)), ("video/ogg",))
    yield FileType("swf", b"FWS\x08" + struct.pack("<I", 40) + bytes(40), ("application/x-shockwave-flash",))


def _archives() -> Iterator[FileType]:
    tar = _tar()
    yield FileType("zip", samples.ZIP, ("application/zip", "application/x-zip-compressed", "application/x-zip"))
    yield FileType("tar", tar, ("application/x-tar", "application/x-gtar"))
    tgz = gzip.compress(tar, mtime=0)
    yield FileType(
        "tgz",
        tgz,
        (
            "application/gzip",
            "application/x-gzip",
            "application/x-compressed-tar",
            "application/x-tgz",
            "application/x-gtar",
            "application/x-compressed",
            "application/x-tar",
            "application/x-tar+gzip",
        ),
    )
    yield FileType("gz", samples.GZIP, ("application/gzip", "application/x-gzip", "application/gzip-compressed"))
    yield FileType(
        "bz2", bz2.compress(samples.TEXT), ("application/x-bzip2", "application/x-bzip", "application/bzip2")
    )
    yield FileType(
        "tbz",
        bz2.compress(tar),
        ("application/x-bzip-compressed-tar", "application/x-bzip2", "application/x-bzip-compressed-tar"),
    )
    yield FileType("xz", lzma.compress(samples.TEXT), ("application/x-xz",))
    yield FileType("txz", lzma.compress(tar), ("application/x-xz-compressed-tar", "application/x-xz"))
    yield FileType("zst", bytes.fromhex("28b52ffd0458") + bytes(16), ("application/zstd", "application/x-zstd"))
    yield FileType(
        "7z", bytes.fromhex("377abcaf271c0004") + bytes(32), ("application/x-7z-compressed", "application/7z")
    )
    yield FileType(
        "rar", b"Rar!\x1a\7\0" + bytes(32), ("application/vnd.rar", "application/x-rar-compressed", "application/x-rar")
    )
    yield FileType("rar 5", b"Rar!\x1a\7\1\0" + bytes(32), ("application/vnd.rar", "application/x-rar-compressed"))


def _zipped() -> Iterator[FileType]:
    manifest = ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n")
    yield FileType(
        "jar",
        _zip(("META-INF/", b""), manifest),
        ("application/java-archive", "application/x-java-archive", "application/x-jar"),
    )
    yield FileType("apk", _zip(("AndroidManifest.xml", b"x"), manifest), ("application/vnd.android.package-archive",))
    yield FileType("kmz", _zip(("doc.kml", b"<kml/>")), ("application/vnd.google-earth.kmz",))
    yield FileType("xpi", _zip(("manifest.json", b"{}")), ("application/x-xpinstall",))
    yield FileType(
        "3mf",
        _zip(("3D/3dmodel.model", b"<model/>")),
        ("model/3mf", "application/vnd.ms-package.3dmanufacturing-3dmodel+xml"),
    )
    yield FileType("cbz", _zip(("1.png", samples.PNG)), ("application/vnd.comicbook+zip", "application/x-cbz"))
    yield FileType(
        "pages",
        _zip(("Index/Document.iwa", b"x"), stored=True),
        ("application/vnd.apple.pages", "application/x-iwork-pages-sffpages"),
    )
    yield FileType("numbers", _zip(("Index/Document.iwa", b"x"), stored=True), ("application/vnd.apple.numbers",))
    yield FileType("key", _zip(("Index/Document.iwa", b"x"), stored=True), ("application/vnd.apple.keynote",))
    yield FileType(
        "whl", _zip(("a/__init__.py", b""), ("a.dist-info/WHEEL", b"x")), ("application/zip", "application/x-wheel+zip")
    )


def _images_and_packages() -> Iterator[FileType]:
    yield FileType(
        "deb",
        b"!<arch>\ndebian-binary   1410122664  0     0     100644  4         `\n2.0\n",
        ("application/vnd.debian.binary-package", "application/x-debian-package", "application/x-deb"),
    )
    yield FileType(
        "rpm",
        bytes.fromhex("edabeedb03000000") + bytes(90),
        ("application/x-rpm", "application/x-redhat-package-manager"),
    )
    yield FileType(
        "cab",
        b"MSCF" + bytes(4) + struct.pack("<I", 100) + bytes(20) + b"\3\1" + bytes(60),
        ("application/vnd.ms-cab-compressed",),
    )
    yield FileType(
        "iso", bytes(32768) + b"\1CD001\1" + bytes(2041), ("application/x-iso9660-image", "application/x-cd-image")
    )
    yield FileType("dmg", zlib.compress(bytes(600)), ("application/x-apple-diskimage", "application/x-diskcopy"))
    yield FileType("Z", b"\x1f\x9d\x90" + bytes(32), ("application/x-compress",))
    yield FileType("lz4", bytes.fromhex("04224d186440a7") + bytes(32), ("application/x-lz4",))


def _programs() -> Iterator[FileType]:
    windows = (
        "application/x-msdownload",
        "application/x-msdos-program",
        "application/x-ms-dos-executable",
        "application/x-dosexec",
        "application/vnd.microsoft.portable-executable",
        "application/exe",
        "application/x-exe",
    )
    yield FileType("exe", samples.EXE, windows)
    yield FileType("dll", samples.EXE, ("application/x-msdownload", "application/x-sharedlib")[:1])
    yield FileType("elf", _elf(2), ("application/x-executable", "application/x-elf"))
    yield FileType("so", _elf(3), ("application/x-sharedlib", "application/x-executable"))
    yield FileType(
        "mach-o", bytes.fromhex("cffaedfe07000001030000000200000010000000") + bytes(64), ("application/x-mach-binary",)
    )
    yield FileType(
        "class",
        bytes.fromhex("cafebabe00000034") + bytes(32),
        ("application/java-vm", "application/x-java", "application/x-java-class"),
    )
    yield FileType("wasm", b"\0asm\1\0\0\0", ("application/wasm",))
    yield FileType(
        "ttf",
        _font(b"\0\1\0\0"),
        ("font/ttf", "application/x-font-ttf", "application/font-sfnt", "font/sfnt", "application/x-font-truetype"),
    )
    yield FileType(
        "otf",
        _font(b"OTTO"),
        (
            "font/otf",
            "application/x-font-otf",
            "application/vnd.ms-opentype",
            "application/x-font-opentype",
            "font/opentype",
        ),
    )
    yield FileType(
        "woff", b"wOFF" + b"\0\1\0\0" + bytes(40), ("font/woff", "application/font-woff", "application/x-font-woff")
    )
    yield FileType("woff2", b"wOF2" + b"\0\1\0\0" + bytes(44), ("font/woff2",))


def _others() -> Iterator[FileType]:
    yield FileType("sqlite", _sqlite(), ("application/vnd.sqlite3", "application/x-sqlite3"))
    yield FileType(
        "torrent",
        b"d8:announce20:http://example.com/a13:creation datei1e4:infod4:name1:aee",
        ("application/x-bittorrent",),
    )
    yield FileType(
        "parquet", b"PAR1" + bytes(32) + b"PAR1", ("application/vnd.apache.parquet", "application/x-parquet")
    )
    yield FileType("hdf5", b"\x89HDF\r\n\x1a\n" + bytes(64), ("application/x-hdf5", "application/x-hdf"))
    yield FileType(
        "fits",
        b"SIMPLE  =                    T / file conforms".ljust(80) + b"BITPIX  =                    8".ljust(80),
        ("application/fits", "image/fits"),
    )
    yield FileType("dcm", bytes(128) + b"DICM" + bytes(32), ("application/dicom",))
    yield FileType("glb", b"glTF" + struct.pack("<II", 2, 20) + bytes(8), ("model/gltf-binary",))
    yield FileType("gltf", b'{"asset": {"version": "2.0"}}\n', ("model/gltf+json",))
    yield FileType(
        "stl", b"made by a slicer".ljust(80) + struct.pack("<I", 1) + bytes(50), ("model/stl", "application/sla")
    )
    yield FileType(
        "der", bytes.fromhex("3082010a0282010100") + bytes(64), ("application/x-x509-ca-cert", "application/pkix-cert")
    )
    yield FileType("p12", bytes.fromhex("308209d7020103") + bytes(64), ("application/x-pkcs12",))
    yield FileType("bplist", plistlib.dumps({"a": 1}, fmt=plistlib.FMT_BINARY), ("application/x-plist",))
    yield FileType(
        "pcap", bytes.fromhex("d4c3b2a1020004000000000000000000ffff000001000000"), ("application/vnd.tcpdump.pcap",)
    )
    yield FileType("noise", samples.NOISE, ("application/octet-stream", "application/x-our-own"))
    yield FileType("empty", b"", ("image/png", "text/plain"))
