"""Takes over the uploads of other tus servers: their layouts, one module each."""
