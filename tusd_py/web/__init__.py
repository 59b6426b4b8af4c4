"""The Starlette side: requests come in, replies go out; what they mean is decided below."""
