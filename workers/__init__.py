"""The worker: a process that does what follows from uploads, beside the server. It knows no HTTP server."""
