"""Metrics: observers that count what is told of sessions and nodes. Give one to `observe=` of any adapter.

`memsession.metrics.prometheus` has `PrometheusMetrics` and `PoolCollector`, `memsession.metrics.opentelemetry` has
`OpenTelemetryMetrics`. They need `pip install "memsession[metrics]"`.
"""
