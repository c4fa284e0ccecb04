"""Experiments: one long story each, on real memcached and real web servers, with the figures that it has to show.

`python -m tests.faults.experiments NAME` runs one, prints its seed and its figures, and exits with 1
if one is missed.
"""
