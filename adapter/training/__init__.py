"""How nano is trained: images with masks in, weights out. Not in the wheel; ``python -m livesam.adapter.training.pretrain``."""
