"""Stores bytes in an S3-compatible object store: multipart uploads, tails, concatenation."""
