"""Checks of complete uploads: type, digests, CSV, the operator's rules."""
