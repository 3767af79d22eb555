"""Configuration of the daemons: one strict model each, and the loader that explains what is wrong."""
