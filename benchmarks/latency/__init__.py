"""How long clicks, swaps, encodings and exports take."""
