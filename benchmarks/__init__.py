"""Measures tusd-py and other tus servers in one run. No server is imported: each is a process with a URL."""
