"""What a GPU is asked in one run: ``python -m livesam.benchmarks.gpu --out FILE``."""
