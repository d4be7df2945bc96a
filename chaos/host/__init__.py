"""What runs on a machine: systemd units, processes, commands, ports."""
