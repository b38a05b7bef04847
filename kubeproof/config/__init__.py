"""Settings and inventories: what a user may say of a cluster, read and checked before anything is touched."""
