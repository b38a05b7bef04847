"""What every command shares: errors that a user can act on, progress, files asked for, exit codes."""
