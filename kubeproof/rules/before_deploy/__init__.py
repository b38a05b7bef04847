"""What is wrong with hosts before anything is changed on them: one module for each thing that is judged. Pure."""
