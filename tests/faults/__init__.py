"""Faults on real processes: memcached servers behind fault proxies, two web servers, visitors, and checkers.

`proxy` breaks the roads, `cluster` starts and breaks the processes, `probe*` is the application, `visitors` visit it
and write a history, `checkers` judge it. `workloads` and `drivers` are what is done and what goes wrong meanwhile;
`matrix` runs each with each, and `python -m tests.faults` writes docs/reliability.md from that.
"""
