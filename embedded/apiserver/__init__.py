"""A Kubernetes API on one machine, as much of it as the harness uses; its Pods are processes.

Read in this order: resources (what is spoken), cluster (what there is), writes and watching (what may be asked),
status, scheduling, budgets, controllers and kserve (what becomes of it), kubelet, isolation and process (what really runs),
server (HTTP).
"""
