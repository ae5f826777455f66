"""``livesam embed`` of a folder, plain and on Ray: how fast, and what a killed worker costs."""
