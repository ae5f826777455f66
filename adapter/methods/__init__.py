"""What to learn from an interaction, one module a method."""
