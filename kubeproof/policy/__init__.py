"""NetworkPolicy in pure Python: reads objects, judges connections, and says why."""
