"""The command line: `hashpool COMMAND`, one module a command, loaded only when it is asked for."""
