"""The tus protocol and the IETF draft as values and pure functions: no I/O, no clock, no logging."""
