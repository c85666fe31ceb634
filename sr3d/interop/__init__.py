"""Interfaces to the programs and files of other projects. Only the command imports this package."""
