"""The metrics. Each function's docstring is a definition; docs/metrics.md is generated from them."""
