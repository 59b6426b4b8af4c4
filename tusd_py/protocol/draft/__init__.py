"""The IETF draft "Resumable Uploads for HTTP": its parser and formatter, for the same values as tus 1.0."""
