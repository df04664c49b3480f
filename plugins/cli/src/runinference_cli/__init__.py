"""The command `runinference`."""
