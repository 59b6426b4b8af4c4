"""Writes tusd_py/validation/media_type_names.json from shared-mime-info and mime-db (``make media-types``).

shared-mime-info, the database of the Linux desktops, says which names mean one type and which types are special cases
of others. mime-db collects the registry of IANA and the tables of Apache and nginx; it has names that clients declare
and shared-mime-info lacks, such as ``application/x-msdownload``. Such a name stands for the type of shared-mime-info
that has its first extension, if there is exactly one, of the same kind (``application``, ``audio`` ...). Names that
IANA has registered are left alone: they are types of their own, whose extensions are the same by accident.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

SHARED_MIME_INFO = Path("/usr/share/mime/packages/freedesktop.org.xml")
TABLE = Path(__file__).parents[2] / "tusd_py" / "validation" / "media_type_names.json"
_NAMESPACE = "{http://www.freedesktop.org/standards/shared-mime-info}"
# Parents that say nothing about the bytes, or nothing that a detector sees.
_EVERYTHING = frozenset({"application/octet-stream", "application/x-executable"})


def make_table(shared_mime_info: Path, mime_db: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """``aliases`` maps a name to the type it stands for, ``parents`` a type to more general ones."""
    types: set[str] = set()
    aliases: dict[str, str] = {}
    parents: dict[str, list[str]] = {}
    by_extension: defaultdict[str, set[str]] = defaultdict(set)
    for item in ElementTree.parse(shared_mime_info).getroot().iter(f"{_NAMESPACE}mime-type"):
        name = item.attrib["type"].lower()
        types.add(name)
        aliases |= {alias.attrib["type"].lower(): name for alias in item.findall(f"{_NAMESPACE}alias")}
        general = [parent.attrib["type"].lower() for parent in item.findall(f"{_NAMESPACE}sub-class-of")]
        if general := [parent for parent in general if parent not in _EVERYTHING]:
            parents[name] = general
        for glob in item.findall(f"{_NAMESPACE}glob"):
            by_extension[glob.attrib["pattern"].lower().removeprefix("*.")].add(name)
    for name, entry in mime_db.items():
        if name in types or name in aliases or entry.get("source") == "iana":
            continue
        extensions = entry.get("extensions", ())
        found = next((by_extension[extension] for extension in extensions if extension in by_extension), set())
        if len(found) == 1 and name.partition("/")[0] == (only := min(found)).partition("/")[0]:
            aliases[name] = only
    return {"aliases": dict(sorted(aliases.items())), "parents": dict(sorted(parents.items()))}


def fetch_mime_db(version: str) -> dict[str, Any]:
    """The table of mime-db, from npm."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["npm", "pack", "--silent", f"mime-db@{version}"]
        subprocess.run(command, cwd=directory, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(directory).glob("*.tgz"))) as archive:
            file = archive.extractfile("package/db.json")
            assert file is not None
            table: dict[str, Any] = json.load(file)
            return table


def main() -> None:
    """Write the table, and print how many names it has."""
    if not SHARED_MIME_INFO.exists():
        sys.exit("make media-types: shared-mime-info is missing (Debian: apt-get install shared-mime-info)")
    table = make_table(SHARED_MIME_INFO, fetch_mime_db(sys.argv[1]))
    TABLE.write_text(json.dumps(table, indent=1) + "\n")
    print(f"{len(table['aliases'])} aliases, {len(table['parents'])} special cases")


if __name__ == "__main__":
    main()
