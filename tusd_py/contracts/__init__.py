"""The contracts between the use cases and the backends, as typing protocols with the exceptions that they raise."""
