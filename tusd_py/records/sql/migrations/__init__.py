"""The migrations of the schema, for Alembic: ``env`` runs them, ``versions`` has one file for each."""
