"""Resumable Uploads for HTTP, the IETF's draft: other parsers and formatters for the same requests and outcomes."""
