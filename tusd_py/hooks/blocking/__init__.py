"""Hooks that a request waits for: URLs, programs, Python functions."""
