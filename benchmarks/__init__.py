"""Measures tusd-py beside other tus servers in one run. Nothing of the server is imported: it is a process with a URL."""
