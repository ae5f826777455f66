"""The page of `livesam serve` as a person has it: driven in a real browser, timed and photographed."""
