"""The scenarios, a file each. A scenario knows a server by its URL and process only, so that all are asked the same."""
