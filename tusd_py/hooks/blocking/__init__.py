"""Hooks for which a request waits: over HTTP, as programs, and as Python callables."""
