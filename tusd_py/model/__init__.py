"""Pure values: uploads, events, jobs, names of hooks, validation rules, callers. Standard library only, no I/O."""
