"""The official weights files: where they are, what they must be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OfficialFile:
    """A weights file at its official address.

    Attributes:
        filename: the name it is known by.
        url: where it is published.
        sha256: of the whole file, hex.
    """

    filename: str
    url: str
    sha256: str


_META = "https://dl.fbaipublicfiles.com/segment_anything/"

OFFICIAL_FILES: dict[str, OfficialFile] = {
    "vit_b": OfficialFile(
        "sam_vit_b_01ec64.pth",
        _META + "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
    ),
    "vit_l": OfficialFile(
        "sam_vit_l_0b3195.pth",
        _META + "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
    ),
    "vit_h": OfficialFile(
        "sam_vit_h_4b8939.pth",
        _META + "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
    ),
    "vit_t": OfficialFile(
        "mobile_sam.pt",
        "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
    ),
}
