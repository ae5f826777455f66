"""Jobs over more images than one process takes: shards of them, done by workers, written whole or not at all."""
