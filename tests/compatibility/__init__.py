"""Real clients behind real proxies: ``make compatibility`` writes docs/compatibility.md."""
