"""The worker: real brokers, a real database, actors of the tests' own."""
