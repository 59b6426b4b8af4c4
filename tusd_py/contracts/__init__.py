"""What the heart needs of the world, as contracts without any body: bytes, records, locks, hooks, an incoming body."""
