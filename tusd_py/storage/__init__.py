"""Stores: where the bytes of uploads lie. Nothing here knows of requests, records or locks."""
