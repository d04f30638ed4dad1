"""Plug-ins for other projects, each in a module of its own that is imported where that project is installed."""
