"""The failover demo: one request every few seconds through the gateway, a line for each, a banner at each change.

It writes no run and injects no fault: another process or person takes the tiers away.
"""
