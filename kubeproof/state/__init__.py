"""A node's network state as one model, and pure parsers that fill it from the output of the usual tools."""
