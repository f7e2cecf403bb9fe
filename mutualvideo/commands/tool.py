"""What the command-line tools have in common."""

import errno
import sys

from mutualvideo.errors import InputError

# Limits of the system that a tool may meet anywhere, and what to do about them.
_LIMITS = {
    errno.EMFILE: "raise the limit of open files (ulimit -n 65536)",
    errno.ENFILE: "the system has too many open files; close other programs",
    errno.ENOSPC: "free some space, or choose another folder",
    errno.EFBIG: "the file system or a limit (ulimit -f) allows no larger files",
    errno.EDQUOT: "the quota of disk space is used up; free some, or choose another folder",
    errno.ENOMEM: "close other programs, or take smaller batches",
}


def run_tool(main):
    """Runs ``main()`` and exits: 2 with one line on standard error for bad input, 130 on ^C.

    One line too, and 2, for limits of the system: memory, disk space, open files. Any other
    exception is a bug and keeps its traceback.
    """
    try:
        sys.exit(main())
    except InputError as error:
        _end(error)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if _is_out_of_memory(error):
            _end(
                "out of memory: lower TRAIN.BATCH_SIZE, TEST.BATCH_SIZE or DATA_LOADER.NUM_WORKERS "
                f"or raise TRAIN.MICRO_BATCHES ({_first_line(error)})"
            )
        if getattr(error, "errno", None) in _LIMITS:
            _end(f"{error}: {_LIMITS[error.errno]}")
        raise


def _end(error):
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    sys.exit(2)


def _is_out_of_memory(error):
    # Not every tool needs torch: its exceptions go by their names.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator" in text or "CUDA out of memory" in text
    )


def _first_line(error):
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
