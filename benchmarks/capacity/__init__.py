"""How many machines so many people need, by simulation."""
