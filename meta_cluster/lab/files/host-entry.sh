#!/bin/sh
# A lab host: an ordinary Debian server with sshd and Python, none of kok's packages. A new start is a new boot; the disk stays.
set -eu
. /usr/local/lib/kok/cgroups.sh
prepare_container
cat /proc/sys/kernel/random/uuid > /run/kok-boot-id
mount --bind /run/kok-boot-id /proc/sys/kernel/random/boot_id
mkdir -p -m 700 /root/.ssh
printf '%s\n' "$KOK_AUTHORIZED_KEY" > /root/.ssh/authorized_keys
chmod 600 /root/.ssh/authorized_keys
[ -s /etc/ssh/ssh_host_ed25519_key ] || ssh-keygen -q -t ed25519 -N '' -C "$(hostname)" -f /etc/ssh/ssh_host_ed25519_key
exec /sbin/init
