"""Stores: where the bytes of uploads are kept. Nothing here knows of requests, records or locks."""
