"""Who may do what: the policy, tokens, quotas and rates."""
