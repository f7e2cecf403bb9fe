"""The formats: what each is called, how its files end, which module writes it."""

from importlib import import_module

from mutualvideo.errors import InputError

# Imported when asked for: openvino and onnx are extras, and slow to import. Each module has
#   ENDINGS: of its files, that of the one to open first
#   PACKAGES: that write them
#   require(): raises InputError if one is missing
#   write(source, subnet, path): writes the file(s) of a sub-network, metadata inside
#   load(source, subnet, path): opens what lies there in the runtime that reads it; a function
#       of clips, float32 arrays (B, 3, frames, size, size) to logits (B, classes)
_MODULES = {
    "torch_export": "program_file",
    "onnx": "onnx_file",
    "openvino": "openvino_file",
    "pytorchvideo": "pytorchvideo_module",
}
FORMATS = tuple(_MODULES)


def get_format(name):
    """The module that writes format ``name``.

    Raises:
        InputError: if there is no such format, or a package that it needs is missing.
    """
    if name not in _MODULES:
        raise InputError(f"format {name!r}: expected one of {', '.join(FORMATS)}")
    module = import_module(f"mutualvideo.export.{_MODULES[name]}")
    module.require()
    return module
