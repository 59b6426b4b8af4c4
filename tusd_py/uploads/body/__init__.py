"""Receiving the body of one request: writing, checksums, type detection, progress."""
