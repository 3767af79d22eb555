"""Measurements of real daemons: each benchmark is a module with `add_arguments` and `run`.

A time is printed and never asserted. Processes are measured from outside, by their CPU clocks, on a state of
their own that is removed afterwards.
"""
