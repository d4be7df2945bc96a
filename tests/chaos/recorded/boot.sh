# A separate systemd for the tests: PID 1 of new namespaces, on unified cgroups, with only the tests' units.
# Run by `unshare --mount --pid --fork --cgroup --ipc --uts --mount-proc --kill-child`; see tests/chaos/hosts.py.
set -e
mount --make-rprivate /
umount -R /sys/fs/cgroup 2>/dev/null || umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/units /run/dbus

manager() { # what any manager needs: where its bus listens, of which kind it is
    # The default dependencies of transient units, empty.
    for target in sysinit basic shutdown timers umount; do
        printf '[Unit]\nDefaultDependencies=no\n' > $target.target
    done
    printf '[Unit]\nDefaultDependencies=no\nWants=dbus.socket\n' > brownout.target
    # systemctl freeze needs D-Bus.
    printf '[Unit]\nDefaultDependencies=no\n[Socket]\nListenStream=%s\n' "$1" > dbus.socket
    printf '[Unit]\nDefaultDependencies=no\nRequires=dbus.socket\n[Service]\nType=notify\nExecStart=/usr/bin/dbus-daemon %s --address=systemd: --nofork --nopidfile --systemd-activation\n' "$2" > dbus.service
    printf '[Service]\nExecStart=/bin/sleep 1000000\n' > engine.service
}

cd /run/units
manager /run/dbus/system_bus_socket --system
printf '[Service]\nExecStart=/bin/sleep 1000000\nRestart=always\nRestartSec=100ms\n' > again.service
printf '[Service]\nExecStart=/bin/sleep 1000000\nExecStop=/bin/sleep 1\n' > slow.service
printf '[Service]\nExecStart=/bin/sleep 1000000\n' > 'engine@1.service'
cat > user.service <<END
[Service]
Type=notify
Delegate=yes
Environment=XDG_RUNTIME_DIR=/run/user/0 SYSTEMD_UNIT_PATH=/run/user-units:/run/user/0/systemd/transient
ExecStart=/lib/systemd/systemd --user --unit=brownout.target --log-target=null
END

mkdir -p -m 700 /run/user/0 /run/user-units
cd /run/user-units
manager /run/user/0/bus --session

export container=brownout SYSTEMD_UNIT_PATH=/run/units:/run/systemd/transient
exec /lib/systemd/systemd --system --unit=brownout.target --log-target=null --show-status=no
