"""One HTTP connection: our subclass of uvicorn's httptools protocol and what it needs."""
