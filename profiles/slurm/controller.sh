#!/usr/bin/env bash
# A SLURM controller and its one node on this machine, to try profiles/slurm with: `eval "$(controller.sh start DIR)"` puts
# its commands first in PATH, `controller.sh stop DIR` ends all its jobs and itself. It needs the packages slurm-wlm and
# munge, keeps everything in DIR, and touches no /etc/slurm. CPUS, MEMORY (MB) and GPUS say what the node claims to have:
# no more of the first two than there is; its GPUs are names without devices.
set -euo pipefail

verb=${1:-}
[[ $verb =~ ^(start|stop)$ && -n ${2:-} ]] || { sed -n 2,5p "$0" >&2; exit 2; }
dir=$(realpath -m "$2")
PATH=$PATH:/usr/sbin  # where Debian puts daemons, and a user's PATH does not look
for tool in slurmctld slurmd munged sbatch; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed: apt-get install slurm-wlm munge" >&2; exit 2; }
done

stop() {
    if [[ -s $dir/slurmctld.pid ]]; then
        SLURM_CONF=$dir/slurm.conf scancel --full --signal=KILL --user="$(id -un)" 2>/dev/null || true
    fi
    for name in slurmd slurmctld munged; do
        [[ -s $dir/$name.pid ]] || continue
        pid=$(<"$dir/$name.pid")
        kill "$pid" 2>/dev/null || true
        for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
        kill -9 "$pid" 2>/dev/null || true
        rm -f "$dir/$name.pid"
    done
    # Without control groups a process whose parent ended first is lost to SLURM: its environment still names the cluster.
    port=$(sed -n 's/^SlurmctldPort=//p' "$dir/slurm.conf" 2>/dev/null || true)
    [[ -n $port ]] || return 0
    for environment in /proc/[0-9]*/environ; do
        if grep -qz "^SLURM_WORKING_CLUSTER=here:127.0.0.1:$port:" "$environment" 2>/dev/null; then
            pid=${environment#/proc/}
            kill -9 "${pid%/environ}" 2>/dev/null || true
        fi
    done
}

if [[ $verb == stop ]]; then stop; exit; fi

mkdir -p "$dir"/{bin,state,spool,log}
chmod 700 "$dir"
host=$(hostname -s)
cpus=${CPUS:-$(nproc)}
memory=${MEMORY:-$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)}
gpus=${GPUS:-0}
# Ports that nobody listens on
read -r port_ctl port_d < <(python3 -c '
import socket
open_ = [socket.socket() for _ in range(2)]
[one.bind(("", 0)) for one in open_]
print(*(one.getsockname()[1] for one in open_))')

cat > "$dir/slurm.conf" <<EOF
ClusterName=here
SlurmctldHost=$host(127.0.0.1)
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
SlurmctldPort=$port_ctl
SlurmdPort=$port_d
AuthType=auth/munge
AuthInfo=socket=$dir/munge.socket
CryptoType=crypto/munge
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/log/slurmctld
SlurmdLogFile=$dir/log/slurmd
# No control groups and no accounting: what a step uses is read from /proc, and one above its memory is killed.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=5,sched_min_interval=0
ReturnToService=2
SlurmdTimeout=15
InactiveLimit=0
KillWait=5
MinJobAge=600
MpiDefault=none
EOF
generic=""
if ((gpus)); then
    echo "GresTypes=gpu" >> "$dir/slurm.conf"
    generic="Gres=gpu:$gpus"
    for ((n = 0; n < gpus; n++)); do
        : > "$dir/gpu$n"
        echo "Name=gpu File=$dir/gpu$n"
    done > "$dir/gres.conf"
fi
cat >> "$dir/slurm.conf" <<EOF
NodeName=$host NodeAddr=127.0.0.1 CPUs=$cpus RealMemory=$memory $generic State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP
EOF

export SLURM_CONF=$dir/slurm.conf
# Snakemake's plugin hides SLURM_CONF from `srun`, so each command says it itself.
for tool in sbatch srun squeue scancel sinfo scontrol sacct; do
    printf '#!/bin/sh\nSLURM_CONF=%q exec %q "$@"\n' "$dir/slurm.conf" "$(command -v "$tool")" > "$dir/bin/$tool"
    chmod +x "$dir/bin/$tool"
done
if [[ ! -f $dir/munge.key ]]; then
    (umask 077 && head -c 1024 /dev/urandom > "$dir/munge.key")
fi
{
    munged --force --key-file="$dir/munge.key" --socket="$dir/munge.socket" --pid-file="$dir/munged.pid" \
        --log-file="$dir/log/munged" --seed-file="$dir/munge.seed" --num-threads=2
    slurmctld -f "$dir/slurm.conf"
    slurmd -f "$dir/slurm.conf" -N "$host"
} >&2
for _ in $(seq 150); do
    state=$(sinfo --noheader --format=%t 2>/dev/null || true)
    [[ $state == idle ]] && { printf 'export PATH=%q:"$PATH"\n' "$dir/bin"; exit; }
    sleep 0.2
done
echo "the node did not come up within 30 s (state: ${state:-none}); its logs are in $dir/log" >&2
tail -n 5 "$dir"/log/* >&2
stop
exit 1
