"""Small valid files of many types."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def zipped(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(
                zipfile.ZipInfo(name), f"what is in {name}, some of it more than once: {name}", zipfile.ZIP_DEFLATED
            )
    return buffer.getvalue()


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\x00\x00"))
    + _chunk(b"IEND", b"")
)
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\x01\x00\x00\x01\x00\x01\x00\x00" + bytes(64) + b"\xff\xd9"
GIF = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\xff\xff\xff\x00\x00\x00!\xf9\x04\x00\x00\x00\x00\x00,\x00\x00\x00\x00;"
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n"
HTML = b"<!DOCTYPE html>\n<html><head><title>x</title></head><body><script>alert(1)</script></body></html>\n"
SVG = b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" width="1" height="1"><rect/></svg>\n'
CSV = b"name,age,city\nAda,36,London\nAlan,41,Wilmslow\nGrace,85,Arlington\n"
JSON = b'{"name": "Ada", "age": 36, "cities": ["London", "Marylebone"]}\n'
TEXT = b"Some words, and nothing else.\nA second line of them.\n"
ZIP = zipped("a.txt", "b.txt")
DOCX = zipped("[Content_Types].xml", "_rels/.rels", "word/document.xml")
GZIP = gzip.compress(TEXT, mtime=0)
WEBP = b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(24)
MP4 = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + bytes(64)
EXE = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\x00\x00\x64\x86" + bytes(200)
NOISE = bytes((index * 7919 + 13) % 251 for index in range(900))
