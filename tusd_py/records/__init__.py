"""Backends of the records contract, in memory and in a database."""
