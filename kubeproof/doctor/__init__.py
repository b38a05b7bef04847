"""The doctor: looks at a running or broken cluster, names what is wrong with it, and says what to do about it."""
