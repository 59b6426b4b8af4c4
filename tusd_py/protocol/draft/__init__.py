"""The IETF draft "Resumable Uploads for HTTP": its own parser and formatter for the requests and outcomes of tus."""
