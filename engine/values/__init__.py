"""What everybody speaks of: prompts, answers, embeddings, and the protocols between the rooms."""
