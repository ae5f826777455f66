"""One click, one mask: python examples/one_click.py photo.jpg 320 200"""

import sys

import livesam

photo, x, y = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
result = livesam.segment(photo, clicks=[(x, y)])
result.save("mask.png")
result.overlay("overlay.png")
print(f"{result.mask.mean():.1%} of the image, estimated IoU {result.iou:.2f}")
