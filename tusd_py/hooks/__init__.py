"""Kinds of hooks behind the gate's contract. What a hook may do is said there."""
