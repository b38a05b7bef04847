"""NetworkPolicies as truth tables: what is expected of them, what is observed, and the difference."""
