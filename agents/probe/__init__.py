"""The program of the probe pods: a server that tells who answers, and a client that tries many targets at once."""
