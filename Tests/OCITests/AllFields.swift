/// A config.json with every field of the types, each with a value that is not its default, in the order
/// the types declare them.
let allFields = #"""
    {
      "ociVersion": "1.2.1",
      "process": {
        "terminal": true,
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 1000, "gid": 1001, "umask": 18, "additionalGids": [5, 27]},
        "args": ["/bin/sh", "-c", "true"],
        "env": ["PATH=/usr/bin:/bin", "TOKEN=s3cret"],
        "cwd": "/srv",
        "capabilities": {
          "bounding": ["CAP_CHOWN", "CAP_KILL"],
          "effective": ["CAP_CHOWN"],
          "inheritable": ["CAP_KILL"],
          "permitted": ["CAP_CHOWN", "CAP_KILL"],
          "ambient": ["CAP_KILL"]
        },
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1024}],
        "noNewPrivileges": true,
        "apparmorProfile": "confined",
        "oomScoreAdj": -100,
        "scheduler": {
          "policy": "SCHED_DEADLINE", "nice": 5, "priority": 1, "flags": ["SCHED_FLAG_RESET_ON_FORK"],
          "runtime": 1000000, "deadline": 2000000, "period": 3000000
        },
        "selinuxLabel": "system_u:system_r:container_t:s0",
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "execCPUAffinity": {"initial": "0", "final": "0-1"}
      },
      "root": {"path": "rootfs", "readonly": true},
      "hostname": "box",
      "domainname": "example.org",
      "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
          "destination": "/data", "type": "bind", "source": "/srv/data", "options": ["rbind", "ro"],
          "uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}],
          "gidMappings": [{"containerID": 0, "hostID": 1000, "size": 1}]
        }
      ],
      "hooks": {
        "prestart": [{"path": "/bin/a", "args": ["a", "b"], "env": ["K=v"], "timeout": 3}],
        "createRuntime": [{"path": "/bin/b"}],
        "createContainer": [{"path": "/bin/c"}],
        "startContainer": [{"path": "/bin/d"}],
        "poststart": [{"path": "/bin/e"}],
        "poststop": [{"path": "/bin/f"}]
      },
      "annotations": {"org.example.a": "1", "org.example.b": "2"},
      "linux": {
        "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
        "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
        "sysctl": {"net.core.somaxconn": "256", "net.ipv4.ip_forward": "1"},
        "resources": {
          "devices": [{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}],
          "memory": {
            "limit": 536870912, "reservation": 268435456, "swap": 1073741824, "kernel": 1, "kernelTCP": 2, "swappiness": 10,
            "disableOOMKiller": true, "useHierarchy": true, "checkBeforeUpdate": true
          },
          "cpu": {
            "shares": 1024, "quota": 150000, "burst": 1000, "period": 100000, "realtimeRuntime": 950000,
            "realtimePeriod": 1000000, "cpus": "0-1", "mems": "0", "idle": 1
          },
          "pids": {"limit": 100},
          "blockIO": {
            "weight": 100, "leafWeight": 100,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 500, "leafWeight": 300}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
            "throttleWriteBpsDevice": [{"major": 8, "minor": 0, "rate": 601}],
            "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 602}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 603}]
          },
          "hugepageLimits": [{"pageSize": "2MB", "limit": 9223372036854772000}],
          "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
          "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
          "unified": {"memory.high": "1073741824"}
        },
        "cgroupsPath": "/engine/box",
        "namespaces": [
          {"type": "pid"}, {"type": "network", "path": "/run/netns/box"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"},
          {"type": "user"}, {"type": "cgroup"}, {"type": "time"}
        ],
        "devices": [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 438, "uid": 1, "gid": 2}],
        "netDevices": {"eth0": {"name": "inside"}},
        "seccomp": {
          "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
          "flags": ["SECCOMP_FILTER_FLAG_LOG"], "listenerPath": "/run/listener.sock", "listenerMetadata": "m",
          "syscalls": [
            {
              "names": ["personality"], "action": "SCMP_ACT_ALLOW", "errnoRet": 1,
              "args": [{"index": 0, "value": 8, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]
            }
          ]
        },
        "rootfsPropagation": "slave",
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "system_u:object_r:container_file_t:s0",
        "intelRdt": {
          "closID": "guaranteed", "schemata": ["L3:0=f"], "l3CacheSchema": "L3:0=7f0", "memBwSchema": "MB:0=20", "enableMonitoring": true
        },
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
        "personality": {"domain": "LINUX32", "flags": ["X"]},
        "timeOffsets": {"boottime": {"secs": 5, "nanosecs": 6}, "monotonic": {"secs": -1, "nanosecs": 1}}
      },
      "vm": {
        "hypervisor": {"path": "/usr/bin/vmm", "parameters": ["a"]},
        "kernel": {"path": "/boot/vmlinux", "parameters": ["quiet"], "initrd": "/boot/initrd"},
        "image": {"path": "/img", "format": "raw"},
        "hwConfig": {
          "deviceTree": "/dt", "vcpus": 2, "memory": 268435456, "dtdevs": ["d"],
          "iomems": [{"firstGFN": 1, "firstMFN": 2, "nrMFNs": 3}], "irqs": [11]
        }
      }
    }
    """#
