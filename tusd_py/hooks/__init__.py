"""Hooks: ``blocking`` ones, for which a request waits, and the ``delivery`` of events to endpoints."""
