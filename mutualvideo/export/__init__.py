"""Sub-networks as files for other runtimes: one module per format, checked before it is kept.

``formats`` lists them, ``subnet`` writes one file, ``folder`` a folder for the runtime.
"""

from mutualvideo.export.deploy_folder import export_folder
from mutualvideo.export.formats import FORMATS
from mutualvideo.export.origin import Origin, open_origin
from mutualvideo.export.parity import TOLERANCE, DifferenceError
from mutualvideo.export.subnet_file import export_subnet

__all__ = [
    "DifferenceError",
    "FORMATS",
    "Origin",
    "TOLERANCE",
    "export_folder",
    "export_subnet",
    "open_origin",
]
