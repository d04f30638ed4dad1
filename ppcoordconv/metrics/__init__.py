"""Metrics: what is measured of results on a test set."""
