"""Files of tensors, written whole or not at all."""

import torch

from mutualvideo.files import atomic_path


def write_tensors(content, path, durable=False):
    """Writes what ``torch.save`` takes to ``path``; ``durable`` as :func:`atomic_path` takes it.

    Raises:
        InputError: if it cannot be written; what was there before is as it was.
    """
    # Through a file of Python's, whose errors say what is wrong with the disk.
    with atomic_path(path, durable) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:
            # torch goes on to end its archive after a write has failed, and fails at that.
            cause = error.__context__
            while cause is not None and not isinstance(cause, OSError):
                cause = cause.__context__
            raise (cause or error) from None
