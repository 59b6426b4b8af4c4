"""One file for each migration, named after its revision. A released migration is never changed."""
