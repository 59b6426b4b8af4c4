"""The life of an upload, one use case a file. They see the world only through the contracts."""
