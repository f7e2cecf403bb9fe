"""The example Slurm script, with what Slurm offers replaced by scripts that say what they got."""

import os
import subprocess

from tests.docs.test_docs import DOCS


def test_every_machine_gets_the_command(tmp_path):
    stubs = {
        "scontrol": '[ "$*" = "show hostnames node[3-4]" ] && printf "node3\\nnode4\\n"',
        "srun": 'for node in 3 4; do "$@"; done',
        "torchrun": 'printf "%s\\n" "$TORCH_DISABLE_SHARE_RDZV_TCP_STORE $*"',
    }
    for name, text in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_NODELIST": "node[3-4]",
        "SLURM_NNODES": "2",
        "SLURM_JOB_ID": "77",
        "SLURM_GPUS_ON_NODE": "4",
    }
    done = subprocess.run(
        ["bash", DOCS / "slurm.sh", "some.yaml", "OUTPUT_DIR", "/shared/a b"],
        env={**os.environ, **slurm, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and lines[0] == lines[1]
    for option in (
        "--nnodes=2",
        "--nproc_per_node=4",
        "--rdzv_endpoint=node3:29500",
        "--rdzv_id=77",
        "tools/run_net.py --cfg some.yaml OUTPUT_DIR /shared/a b",
    ):
        assert option in lines[0]
    assert lines[0].startswith("1 ")
