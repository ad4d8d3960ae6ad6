"""Trainings as jobs of Slurm, with a program in the place of Slurm that starts each job at once."""

import os
import runpy
import threading
from pathlib import Path

import pytest

import smoot_explore

pytest.importorskip("dask_jobqueue")

PATIENCE = 240  # seconds: a job starts slowly on a busy computer
SCRIPT = Path(__file__).parents[1] / "deploy" / "slurm.py"
SBATCH = """#!/bin/sh
cp "$1" "$SLURM_HERE"
sh "$1" > "$SLURM_HERE/log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill "$@"
"""


def test_the_script_s_jobs_train_a_sweep(tmp_path, monkeypatch, config, data):
    programs, jobs = tmp_path / "programs", tmp_path / "jobs"
    jobs.mkdir()
    programs.mkdir()
    for name, text in {"sbatch": SBATCH, "scancel": SCANCEL}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o700)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parents[1]))
    monkeypatch.setenv("SLURM_HERE", str(jobs))
    monkeypatch.chdir(tmp_path)
    script, saturation, found = runpy.run_path(str(SCRIPT)), [], []

    def sweep(*arguments, client, **options):
        saturation.append(client.cluster.scheduler.WORKER_SATURATION)
        return smoot_explore.sweep(*arguments, client=client, **options)

    sweep_on_slurm = script["sweep_on_slurm"]
    monkeypatch.setitem(sweep_on_slurm.__globals__, "sweep", sweep)

    def train():
        result = sweep_on_slurm(
            tmp_path / "runs" / "s", config(epochs=1), {"alpha": [1, 10]}, data=data, jobs=1, memory="4GB",
            walltime="04:00:00", queue="gpu", job_extra_directives=["--gres=gpu:1"], interface="lo",
        )  # fmt: skip
        found.append(result.epochs_done.values.tolist())

    training = threading.Thread(target=train, daemon=True)  # it would wait for ever for a job that has died
    training.start()
    training.join(PATIENCE)
    assert found == [[1, 1]], (jobs / "log").read_text()
    assert saturation == [1.0]
    (script,) = [file.read_text() for file in jobs.glob("*.sh")]
    for line in ("#SBATCH -p gpu", "#SBATCH --mem=4G", "#SBATCH -t 04:00:00", "#SBATCH --gres=gpu:1"):
        assert line in script
    assert " tls://127.0.0.1:" in script
    assert "--nthreads 1" in script
