"""What is measured. Each function's docstring is a definition; docs/metrics.md is made of them."""
