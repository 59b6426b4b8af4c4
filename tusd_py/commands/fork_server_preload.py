"""Imported by the fork server, from which the server processes are forked: they share its memory.

It runs nothing, opens nothing and starts no thread: a fork would copy what other threads do half-way.
"""

from __future__ import annotations

import gc

import tusd_py.commands.server  # noqa: F401  # the modules are the memory to share

gc.collect()
# Garbage collections write to every object that they look at, and each page that is written to is copied.
gc.freeze()
