"""The command line: ./inv's words, and the tables of the documents that are made from the code."""
