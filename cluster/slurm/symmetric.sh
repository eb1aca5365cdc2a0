#!/usr/bin/env bash
# One search on whole nodes. Every node runs the same command: the first becomes the head and searches, the others serve
# it; all of it ends with the search.
#   sbatch cluster/slurm/symmetric.sh genome_cnn --data fashion_mnist_mini --trials 40 --name first
# `ray symmetric-run` ends with `ray stop`, which ends every Ray you have on these nodes: hence --exclusive.
# On nodes you share with other jobs of yours use head_workers.sh.
#SBATCH --job-name=raynas
#SBATCH --nodes=2
#SBATCH --exclusive
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
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300  # seconds until all nodes must have joined

head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | awk 'NR == 1')
# The first address that another node can reach: where hosts name themselves as Debian's do, their name is 127.0.1.1.
head_ip=$(srun --nodes=1 --ntasks=1 --nodelist="$head" bash -c 'hostname --ip-address; hostname --all-ip-addresses' |
    awk '{ for (at = 1; at <= NF; at++) if ($at ~ /^[0-9.]+$/ && $at !~ /^127\./ && !found++) print $at }')
if [ -z "$head_ip" ]; then
    echo "$head has no IPv4 address but loopback" >&2
    exit 1
fi

srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks="$SLURM_JOB_NUM_NODES" \
    ray symmetric-run --address "$head_ip:6379" --min-nodes "$SLURM_JOB_NUM_NODES" \
    --num-cpus="$SLURM_CPUS_PER_TASK" --num-gpus="${SLURM_GPUS_ON_NODE:-0}" \
    -- raynas search "$@" --address "$head_ip:6379"
