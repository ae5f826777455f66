"""How nano is trained: images with masks in, weights out; not in the wheel. Starts in ``pretrain.py``."""
