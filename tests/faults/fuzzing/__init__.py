"""What reads foreign bytes, and valid files to spoil."""
