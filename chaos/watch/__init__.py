"""The failover demo: one request every few seconds through the gateway, a line for each, a banner at each change.

It writes no run and makes no fault: it watches while somebody else takes tiers away.
"""
