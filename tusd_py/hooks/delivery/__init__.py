"""The delivery of events to webhook endpoints and to tusd's ``post-`` hooks."""
