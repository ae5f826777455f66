"""Which decoder answers, how its weights are exchanged, and why no click waits for that."""
