"""Pure values: uploads, events, jobs, hook names, the client behind a request. Standard library only, no I/O."""
