"""The deploy and the reset: phases, the operations they are made of, the facts they read, and running pyinfra."""
