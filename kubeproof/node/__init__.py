"""What the deploy knows about one host: paths, checks, images, what to undo. Pure; nothing here talks to a host."""
