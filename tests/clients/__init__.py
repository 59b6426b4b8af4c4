"""Real tus clients against a running server; each test checks what is stored."""
