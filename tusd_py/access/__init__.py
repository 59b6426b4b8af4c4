"""Access control: the policy, tokens, quotas and rates."""
