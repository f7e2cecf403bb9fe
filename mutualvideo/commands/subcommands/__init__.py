"""What each subcommand is given and calls: a module each, named in ``command_line.COMMANDS``."""
