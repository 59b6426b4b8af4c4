"""The grammars of the texts that hooks may set: ids, paths of bytes, owners, and paths of moved files."""

from __future__ import annotations

import hashlib
import re
import unicodedata

# The characters that tusd allows and that RFC 3986, 3.3, allows unescaped in a path segment. Excluded are the slash;
# the colon and semicolon, at which URL parsers split; and the dot, which only the server's own files and hooks may use.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_~!$'()*+,=@-]{0,127}")
# The ids of tusd's s3store: its own or that of a hook, a plus sign, and the id of the multipart upload in S3.
_TUSD_NAME = r"[A-Za-z0-9_~][A-Za-z0-9._~%!$'()*+,;=:@-]*"
_TUSD_S3_ID = re.compile(rf"{_TUSD_NAME}(?:/{_TUSD_NAME})*\+[A-Za-z0-9._~%!$'()*,=:@-]+")
_TUSD_S3_ID_CHARACTERS_MAX = 1024
_GENERATED_ID = re.compile(r"[0-9a-f]{32}")
_NAME = r"[^./\x00-\x1f\x7f][^/\x00-\x1f\x7f]*"
_OWNER_CHARACTERS_MAX = 255
_FOREIGN_CHARACTERS_MAX = 4096
# Control characters, half surrogate pairs, and separators of lines and paragraphs.
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
_PATH = re.compile(f"{_NAME}(?:/{_NAME})*")


def is_upload_id(text: str) -> bool:
    """Whether ``text`` is a valid id: safe as a path segment, a file name and a header value."""
    return _ID.fullmatch(text) is not None


def known_id(text: str) -> str | None:
    """The id under which this server has the upload that a URL names ``text``; ``None`` if it can have none.

    An id of tusd's s3store that is not valid here, because of its length or its dots, stands for a valid one that is
    derived from it. So the URLs of imported uploads stay as they are, and files, keys and headers have only valid ids.
    """
    if _ID.fullmatch(text) is not None:
        return text
    if "+" not in text or len(text) > _TUSD_S3_ID_CHARACTERS_MAX or _TUSD_S3_ID.fullmatch(text) is None:
        return None
    return f"tusd-{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def is_generated_id(text: str) -> bool:
    """Whether ``text`` has the form of the ids that the server itself gives: 32 random hexadecimal digits."""
    return _GENERATED_ID.fullmatch(text) is not None


def is_storage_path(text: str) -> bool:
    """Whether ``text`` is a valid path for the bytes of an upload, relative to the directory of all uploads.

    A valid path consists of names separated by slashes; none of them is hidden, ``.`` or ``..``, or longer than file
    systems allow. A single name must not be a valid id, because another upload might have that id.
    """
    return _PATH.fullmatch(text) is not None and _fits(text) and not is_upload_id(text)


def is_owner(text: str) -> bool:
    """Whether ``text`` could be the owner of an upload: at most 255 characters, no controls, no line ends."""
    return len(text) <= _OWNER_CHARACTERS_MAX and all(unicodedata.category(each) not in _CONTROL for each in text)


def is_foreign_path(text: str) -> bool:
    """Whether ``text`` can be recorded as the path of a file that is not the server's, in any system's notation."""
    return 0 < len(text) <= _FOREIGN_CHARACTERS_MAX and all(unicodedata.category(each) not in _CONTROL for each in text)


def _fits(path: str) -> bool:
    try:
        encoded = path.encode()
    except UnicodeEncodeError:
        return False
    return len(encoded) <= 1024 and all(len(name) <= 255 for name in encoded.split(b"/"))
