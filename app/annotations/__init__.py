"""Masks of many images, and the files of other tools that hold them."""
