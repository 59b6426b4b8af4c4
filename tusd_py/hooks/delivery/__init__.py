"""Delivery of recorded events to webhooks and to tusd's post- hooks."""
