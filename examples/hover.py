"""What a click would give, at every place of a moving mouse: python examples/hover.py photo.jpg"""

import sys

import livesam

session = livesam.open_session()
session.set_image(sys.argv[1])
height, width = session.embedding.original_hw
for step in range(1, 10):
    x, y = width * step / 10, height / 2
    result = session.preview(x, y)  # the session itself stays as it is
    print(f"({x:.0f}, {y:.0f}): {result.mask.sum()} pixels, {result.timings_ms['total']:.1f} ms")
session.close()
