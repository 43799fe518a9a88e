# Gives this container cgroups, a kernel log and a machine identity of its own; sourced by the entry points before systemd starts.
# Needs: a private cgroup namespace. Does nothing on cgroup v2, where the private namespace is enough.

mount_cgroup_v1() {
  umount -R /sys/fs/cgroup
  mount -t tmpfs -o mode=755 cgroup /sys/fs/cgroup
  while IFS=: read -r _ controllers _; do
    case "$controllers" in
      "") ;; # the line of the unified hierarchy
      name=*) mkdir -p "/sys/fs/cgroup/${controllers#name=}"; mount -t cgroup -o "none,$controllers" cgroup "/sys/fs/cgroup/${controllers#name=}" ;;
      *) mkdir -p "/sys/fs/cgroup/$controllers"; mount -t cgroup -o "$controllers" cgroup "/sys/fs/cgroup/$controllers" ;;
    esac
  done < /proc/self/cgroup
}

prepare_container() {
  if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
    echo "detected cgroup v2"
  else
    echo "detected cgroup v1"
    mount_cgroup_v1
  fi
  [ -e /dev/kmsg ] || mknod -m 600 /dev/kmsg c 1 11
  mount --make-rshared /
  [ -s /etc/machine-id ] || tr -d - < /proc/sys/kernel/random/uuid > /etc/machine-id
}
