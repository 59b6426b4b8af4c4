"""The work after the last byte of an upload: the finish hooks, then the processing steps."""
