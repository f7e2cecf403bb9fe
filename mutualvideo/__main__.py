"""``python -m mutualvideo``: the same as the command ``mutualvideo``."""

from importlib import import_module

if __name__ == "__main__":
    import_module("mutualvideo.commands.command_line").run()
