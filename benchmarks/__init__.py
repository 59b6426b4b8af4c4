"""Measures tusd-py beside other tus servers in one run. The server is not imported: it is a process with a URL."""
