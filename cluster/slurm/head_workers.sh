#!/usr/bin/env bash
# One search on shared nodes: a head, the workers, and the search are separate steps of the job, on ports of its own.
#   sbatch cluster/slurm/head_workers.sh genome_cnn --data fashion_mnist_mini --trials 40 --name first
#SBATCH --job-name=raynas
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --time=08:00:00
#SBATCH --output=raynas-%j.log
set -euo pipefail

# A token for this job alone. srun hands the environment to every node, and only you can read it there.
RAY_AUTH_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN
export RAY_USAGE_STATS_ENABLED=0
export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"  # since Slurm 22.05 srun does not take it from sbatch

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | awk 'NR == 1')
# The first address that another node can reach: where hosts name themselves as Debian's do, their name is 127.0.1.1.
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" bash -c 'hostname --ip-address; hostname --all-ip-addresses' |
    awk '{ for (at = 1; at <= NF; at++) if ($at ~ /^[0-9.]+$/ && $at !~ /^127\./ && !found++) print $at }')
if [ -z "$head_ip" ]; then
    echo "$head has no IPv4 address but loopback" >&2
    exit 1
fi
port=$((20000 + SLURM_JOB_ID % 10000))
address="$head_ip:$port"
shares=(--num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" --temp-dir="/tmp/ray-$SLURM_JOB_ID")
# Ray takes the machine's memory for its own. Of the job's (MiB a node, as --mem or --mem-per-cpu has it; 0 is all) a share
# of 30 % is for objects, as Ray has it.
memory=${SLURM_MEM_PER_NODE:-$((${SLURM_MEM_PER_CPU:-0} * SLURM_CPUS_PER_TASK))}
if ((memory > 0)); then
    shares+=(--object-store-memory=$((memory * 2 ** 20 * 3 / 10)) --memory=$((memory * 2 ** 20 * 7 / 10)))
fi

# Wait until this many nodes have joined.
await_nodes() {
    srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap python3 - "$address" "$1" <<'WAIT'
import sys
import time

import ray

address, wanted = sys.argv[1], int(sys.argv[2])
for _ in range(150):
    try:
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        if sum(node["Alive"] for node in ray.nodes()) >= wanted:
            sys.exit()
    except (ConnectionError, RuntimeError):
        pass  # the head is still starting
    time.sleep(2)
sys.exit(f"{wanted} nodes did not join {address} within five minutes")
WAIT
}

# --block keeps a step alive as long as its Ray node; Slurm ends the steps, and so the nodes, when this script ends.
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
    ray start --head --block --node-ip-address="$head_ip" --port="$port" --include-dashboard=false \
    --ray-client-server-port=$((port + 10000)) "${shares[@]}" &
await_nodes 1
others=$((SLURM_JOB_NUM_NODES - 1))
if ((others > 0)); then
    srun --nodes="$others" --ntasks="$others" --exclude="$head" --overlap \
        ray start --block --address="$address" "${shares[@]}" &
fi
await_nodes "$SLURM_JOB_NUM_NODES"

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap raynas search "$@" --address "$address"
