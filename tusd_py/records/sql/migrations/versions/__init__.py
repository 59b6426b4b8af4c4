"""One file for each step of the schema, named for its revision. A step that has been released never changes."""
