#!/usr/bin/env bash
# Training on several machines under Slurm, from the root of this repository:
#   sbatch docs/slurm.sh configs/Kinetics/X3D_M_mutual.yaml DATA.PATH_TO_DATA_DIR /data/kinetics \
#     OUTPUT_DIR /shared/x3d_m TRAIN.BATCH_SIZE 1024 SOLVER.BASE_LR_SCALE_NUM_SHARDS True
# It ends itself a quarter of an hour before Slurm would, with a checkpoint; the same command again
# continues there. OUTPUT_DIR must be on a file system that all machines share. One task a machine:
# torchrun starts the processes on it.
#SBATCH --job-name=mutualvideo
#SBATCH --nodes=8
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --time=24:00:00
#SBATCH --requeue
set -euo pipefail

# The loader's workers are the parallelism.
export OMP_NUM_THREADS=1
# Without it, processes that are restarted look for one another where the last start's were.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun \
  --nnodes="$SLURM_NNODES" --nproc_per_node="${SLURM_GPUS_ON_NODE:-8}" --max-restarts=3 \
  --rdzv_backend=c10d --rdzv_endpoint="$first:29500" --rdzv_id="$SLURM_JOB_ID" \
  tools/run_net.py --cfg "$@" TRAIN.TIME_LIMIT 1425
