"""Many sessions of `livesam serve` at once."""
