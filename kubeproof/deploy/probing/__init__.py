"""Questions to hosts that are more than a fact: to several at once, timed, or with what no command line may hold."""
