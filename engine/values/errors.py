"""One tree of errors; a bad argument is a plain ``ValueError``, everything below is about state, files and machines.

LivesamError
├── ImageError            an image that cannot be read safely
├── CheckpointError       a weights file that is missing, damaged, unsafe or of another model
├── DownloadError         an official file that could not be fetched or has another hash
├── RuntimeUnavailable    a runtime, precision or device that cannot be used on this machine
├── SessionError          a call that the session's state does not allow (a click before ``set_image``)
├── SwapError             new decoder weights that were not taken; the old ones still serve
├── ExportError           a file that could not be written
│   └── ParityError       a written file whose numbers differ from PyTorch's; it was removed
└── AdaptationError       the learning loop met something that it could not learn from
"""


class LivesamError(Exception):
    """Base of every error of this package. The message says what was got, what is allowed and what to do."""


class ImageError(LivesamError):
    """An image that cannot be read safely."""


class CheckpointError(LivesamError):
    """A weights file that is missing, damaged, unsafe or of another model."""


class DownloadError(LivesamError):
    """An official file that could not be fetched, or whose SHA-256 is another."""


class RuntimeUnavailable(LivesamError):
    """A runtime, precision or device that cannot be used on this machine."""


class SessionError(LivesamError):
    """A call that the session's state does not allow."""


class SwapError(LivesamError):
    """New decoder weights that were not taken; the old ones still serve."""


class ExportError(LivesamError):
    """A file that could not be written; nothing half-written is left behind."""


class ParityError(ExportError):
    """A written file whose numbers differ from PyTorch's beyond the stated tolerance."""


class AdaptationError(LivesamError):
    """The learning loop met something that it could not learn from."""
