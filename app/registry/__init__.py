"""Published decoders, with their history: where learners put them, and servers take them from."""
