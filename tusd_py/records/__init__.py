"""Backends of the records contract: what is known of each upload, in memory or in a database. No bytes, no locks."""
