"""Clients that people really use, against the server as a process: each test checks what is stored."""
