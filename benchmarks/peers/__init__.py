"""livesam beside PyTorch eager: ``python -m livesam.benchmarks.peers``."""
