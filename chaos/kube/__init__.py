"""What is spoken with a Kubernetes API server. Alone imports the Kubernetes client."""
