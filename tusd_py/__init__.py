"""tusd-py: a resumable-upload server, as a program and as an ASGI application."""
