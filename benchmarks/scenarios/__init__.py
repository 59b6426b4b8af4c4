"""The scenarios, one or more per module. They know only the URL and the process of a server."""
