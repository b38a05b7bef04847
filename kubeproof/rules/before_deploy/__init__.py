"""What is wrong with hosts before anything is changed on them: one module for each family of rules. Pure."""
