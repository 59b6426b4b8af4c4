"""Validation of uploads: type, digests, CSV, and the operator's rules."""
