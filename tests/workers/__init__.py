"""Tests of the worker with real brokers, a real database and actors of their own."""
