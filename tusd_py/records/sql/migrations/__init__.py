"""The history of the schema, for Alembic: ``env`` runs it, ``versions`` holds one file for each step."""
