"""Quality under simulated clicks."""
