"""A Kubernetes API on one machine, limited to what the harness uses; its Pods are processes.

Read in this order: resources (the supported kinds), cluster (the state), writes and watching (the operations), status,
scheduling, budgets, controllers and kserve (their effects), kubelet, isolation and process (the processes), server (HTTP).
"""
