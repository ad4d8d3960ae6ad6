"""A sweep whose trainings are jobs of Slurm. Write what is yours at the end, and start it where sbatch is:

    python deploy/slurm.py

It needs `pip install "smoot-explore[cluster]" dask-jobqueue`, and it stays until all is done: start it in tmux, or as a
small job of its own. Stopped or killed, the same command goes on.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dask
import xarray as xr
from dask_jobqueue import SLURMCluster
from distributed import Client

from smoot_explore import ImageData, TrainingConfig, sweep


def sweep_on_slurm(
    folder: Path,
    config: TrainingConfig,
    over: Mapping[str, Iterable[Any]],
    data: ImageData | str,
    jobs: int,
    **job: Any,
) -> xr.Dataset:
    """Train a sweep on workers that are jobs: as many as there is work for, at most ``jobs``, with a training each.

    ``job`` is what `dask_jobqueue.SLURMCluster` takes, such as ``queue`` and ``walltime``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Of the scheduler, which is made here: a training waits for any job that is free, not behind one of them.
    dask.config.set({"distributed.scheduler.worker-saturation": 1.0})
    cluster = SLURMCluster(
        cores=1,
        processes=1,
        death_timeout=600,  # a job that gives up before it has found the scheduler is not replaced
        security=True,  # keys made for this call; the jobs read them below, where only you can
        shared_temp_directory=str(folder.parent.absolute()),
        scheduler_options={"dashboard_address": "127.0.0.1:0"},  # the status page asks for no key
        **job,
    )
    with cluster, Client(cluster) as client:
        cluster.adapt(minimum_jobs=1, maximum_jobs=jobs)  # jobs that have come to their end are replaced
        return sweep(folder, config, over, data=data, client=client)


if __name__ == "__main__":
    sweep_on_slurm(
        Path("runs/slurm"),  # seen by all nodes under this path
        TrainingConfig(epochs=5),
        {"alpha": [1, 10, 100], "seed": range(5)},
        data="fashion-mnist-sample",
        jobs=15,
        memory="4GB",
        walltime="04:00:00",
        # Ten minutes before the wall a worker ends by itself: its training goes on in another, and counts no loss.
        worker_extra_args=[
            "--lifetime",
            "230m",
            "--lifetime-stagger",
            "5m",
            "--dashboard-address",
            "127.0.0.1:0",
        ],
        # queue="gpu", job_extra_directives=["--gres=gpu:1"],
        # interface="ib0",  # where nodes do not reach each other by their names
    )
