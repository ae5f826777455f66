"""Hours of use, and kills in the middle of it, on a real `livesam serve`."""
