"""What an upload really is: its type, its digests, its form, and the operator's rules about them."""
