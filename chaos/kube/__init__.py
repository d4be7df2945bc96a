"""The Kubernetes API. Only this package imports the Kubernetes client."""
