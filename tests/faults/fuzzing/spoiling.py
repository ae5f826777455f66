"""A valid file made into one that is not, in the ways that files are."""

from __future__ import annotations

import re
from random import Random

NUMBERS = (b"-1", b"0", b"1e308", b"NaN", b"18446744073709551615", b"null", b"[]", b"{}", b'"x"', b"true", b"0.5")
LENGTHS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WAYS = 9


def spoilt(data: bytes, seed: int, ways: list[int]) -> bytes:
    """The file after each of these ways (numbers below ``WAYS``), at places that the seed decides."""
    random = Random(seed)
    for way in ways:
        data = _spoil(bytearray(data), way, random)
    return data


def _spoil(data: bytearray, way: int, random: Random) -> bytes:
    size = len(data)
    at, other = random.randrange(size + 1), random.randrange(size + 1)
    start, end = sorted((at, min(size, at + random.choice((1, 2, 4, 16, 256, 4096)))))
    if way == 0 and size:  # a bit turns
        data[at % size] ^= 1 << random.randrange(8)
    elif way == 1:  # the end is missing
        del data[at:]
    elif way == 2:  # a piece is missing
        del data[start:end]
    elif way == 3:  # a piece of something else is in between
        data[at:at] = random.randbytes(random.choice((1, 4, 64, 1024)))
    elif way == 4:  # a piece is there twice, elsewhere
        data[other:other] = data[start:end]
    elif way == 5:  # two pieces have changed places
        length = min(16, size - max(at, other))
        data[at : at + length], data[other : other + length] = data[other : other + length], data[at : at + length]
    elif way == 6:  # a length is another
        data[at : at + 4] = random.choice(LENGTHS).to_bytes(4, random.choice(("little", "big")))
    elif way == 7:  # a number of JSON is something else
        found = list(re.finditer(rb"-?[0-9]+(\.[0-9]+)?", data))
        if found:
            one = random.choice(found)
            data[one.start() : one.end()] = random.choice(NUMBERS)
    elif way == 8:  # a text of JSON is another value, or a key another key
        found = list(re.finditer(rb'"[^"]{0,40}"', data))
        if found:
            one, from_there = random.choice(found), random.choice(found)
            data[one.start() : one.end()] = random.choice(
                (*NUMBERS, bytes(data[from_there.start() : from_there.end()]))
            )
    return bytes(data)
