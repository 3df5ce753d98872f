"""The launch scripts: their commands, and their behaviour with stubs of gcloud and Slurm."""

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import several

LAUNCH = Path(__file__).parents[1] / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))
TPU = {
    "PROJECT": "project",
    "ZONE": "zone",
    "TPU_NAME": "bird",
    "TPU_TYPE": "v5litepod-16",
    "TPU_VERSION": "v2-alpha-tpuv5-lite",
    "WORKDIR": "gs://bucket/birds",
    "POLL": "0.01",
}
SLURM = {"NODES": "2", "GPUS_PER_NODE": "4", "WORKDIR": "/shared/birds"}
NOTE = """#!/bin/bash
printf '%s' "$(basename "$0")" >> "$NOTES"
printf ' %q' "$@" >> "$NOTES"
echo >> "$NOTES"
"""
# Answers each `describe` with the next word of $ANSWERS; runs ssh and scp in the folder $MACHINE.
GCLOUD = """
case "$*" in
  *describe*)
    read -r now < "$ANSWERS"
    sed -i 1d "$ANSWERS"
    echo "$now"
    ;;
  *scp*) cp "$5" "$MACHINE/${6#*:}" ;;
  *ssh*)
    for argument; do
      case "$argument" in --command=*)
        cd "$MACHINE" && exec bash -c "${argument#--command=}" ;;
      esac
    done
    ;;
esac
"""
# Replaces the machine's python3: `-m uv venv` makes a python that replaces the program.
PYTHON3 = """
case "$*" in *"uv venv"*)
  mkdir -p venv/bin
  printf '#!/bin/bash\\necho the program "$@"\\nread -r status < "$STATUSES"\\nsed -i 1d "$STATUSES"
exit "$status"\\n' > venv/bin/python
  chmod +x venv/bin/python
  ;;
esac
"""


class Stubs:
    """Stubs at the front of PATH, and the calls that they record."""

    def __init__(self, folder: Path):
        self.folder, self.notes = folder, folder / "notes"
        self.machine = folder / "machine"
        for name in ("bin", "machine", "tmp"):
            (folder / name).mkdir()
        self.environment = {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "NOTES": str(self.notes),
            "MACHINE": str(self.machine),
            "TMPDIR": str(folder / "tmp"),
        }
        self.notes.touch()

    def add(self, name, program="", answers=None, **lines):
        path = self.folder / "bin" / name
        path.write_text(NOTE + program)
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
        for variable, words in lines.items():
            (self.folder / variable).write_text("".join(f"{word}\n" for word in words))
            self.environment[variable] = str(self.folder / variable)

    def run(self, script, *arguments, **settings):
        return subprocess.run(
            [script, *arguments],
            env={**self.environment, "HOME": str(self.machine), **settings},
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
        )

    def calls(self):
        return self.notes.read_text().splitlines()


@pytest.fixture
def stubs(tmp_path):
    return Stubs(tmp_path)


@pytest.fixture
def cloud(tmp_path):
    """A copy of the scripts in a small repository, with a stub of gcloud's machine."""
    stubs = Stubs(tmp_path)
    shutil.copytree(LAUNCH, tmp_path / "repository/launch")
    stubs.script = tmp_path / "repository/launch/tpu.sh"
    stubs.add("python3", PYTHON3)
    return stubs


def words(line):
    """The group and the verb of a recorded gcloud command."""
    return " ".join(line.split()[3:5]) if "tpus" in line else " ".join(line.split()[1:3])


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_shellcheck_reports_nothing():
    done = subprocess.run(
        ["shellcheck", "--external-sources", "--source-path=SCRIPTDIR/..", *SCRIPTS],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "settings", "missing"),
    [
        ("local.sh", ["--config=a.py"], {}, ["PROCESSES"]),
        ("slurm.sh", ["--config=a.py"], {"NODES": "2"}, ["GPUS_PER_NODE", "WORKDIR"]),
        ("tpu.sh", ["create"], {"ZONE": "z"}, ["PROJECT", "TPU_NAME"]),
        ("tpu.sh", ["all"], {**TPU, "WORKDIR": ""}, ["WORKDIR"]),
    ],
)
def test_missing_settings_are_named(script, arguments, settings, missing, stubs):
    done = stubs.run(LAUNCH / script, *arguments, **settings)
    assert done.returncode == 2
    assert f"{script}: set these in the environment:" in done.stderr
    named = [line.split()[0] for line in done.stderr.splitlines()[1:]]
    assert named == missing
    assert not stubs.calls()


@pytest.mark.parametrize(
    ("script", "arguments", "settings", "sentence"),
    [
        ("local.sh", ["--config=a.py"], {"PROCESSES": "two"}, "PROCESSES is 'two'"),
        ("slurm.sh", ["--config=a.py"], {**SLURM, "NODES": "0"}, "NODES is '0'"),
        ("tpu.sh", ["paint"], TPU, "unknown command 'paint'; choose create"),
        ("tpu.sh", ["keep"], {**TPU, "WORKDIR": "runs/birds"}, "it has to be on gs://"),
    ],
)
def test_a_bad_setting_is_rejected_in_one_sentence(script, arguments, settings, sentence, stubs):
    done = stubs.run(LAUNCH / script, *arguments, **settings)
    assert done.returncode == 2
    assert sentence in done.stderr


@pytest.mark.parametrize("script", ["local.sh", "slurm.sh", "tpu.sh"])
def test_without_arguments_a_script_prints_its_usage(script, stubs):
    done = stubs.run(LAUNCH / script)
    assert done.returncode == 0
    assert f"launch/{script}" in done.stdout and "Settings, from the environment:" in done.stdout
    assert "set -euo" not in done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "settings", "count"),
    [
        ("local.sh", [], {"PROCESSES": "3"}, 3),
        ("slurm.sh", [], SLURM, 3),
        ("tpu.sh", ["keep"], {**TPU, "QUEUED": "1"}, 10),
    ],
)
def test_a_dry_run_prints_every_command_and_runs_none(script, arguments, settings, count, stubs):
    for name in ("gcloud", "sbatch", "srun", "mkdir", "tar", "python"):
        stubs.add(name)
    done = stubs.run(LAUNCH / script, "--dry-run", *arguments, "--config=a b.py", **settings)
    assert done.returncode == 0, done.stderr
    shown = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("+ ")]
    assert len(shown) == count
    assert any("--config=a" in line and "\\ b.py" in line for line in shown)
    assert not stubs.calls()
    assert not list((stubs.folder / "tmp").iterdir())


def test_tpu_all_trains_on_every_machine_and_deletes_the_tpu(cloud):
    cloud.add("gcloud", GCLOUD, ANSWERS=["WAITING_FOR_RESOURCES", "PROVISIONING", "ACTIVE"])
    cloud.add("python3", PYTHON3, STATUSES=["0"])
    done = cloud.run(cloud.script, "all", "--config=a b.py", **TPU, QUEUED="1")
    assert done.returncode == 0, done.stdout + done.stderr
    gcloud = [words(line) for line in cloud.calls() if line.startswith("gcloud")]
    assert gcloud == [
        "queued-resources create",
        *["queued-resources describe"] * 3,
        "tpu-vm scp",
        "tpu-vm ssh",
        "tpu-vm ssh",
        "storage cp",
        "queued-resources delete",
    ]
    assert (
        "the program -m stackgan_jax.main --coordinator=auto --workdir=gs://bucket/birds "
        "--config=a b.py"
    ) in done.stdout
    assert not list((cloud.folder / "tmp").iterdir())


def test_tpu_all_reports_a_failure_and_that_the_tpu_still_costs_money(cloud):
    cloud.add("gcloud", GCLOUD)
    cloud.add("python3", PYTHON3, STATUSES=["3"])
    done = cloud.run(cloud.script, "all", "--config=a.py", **TPU)
    assert done.returncode == 3
    assert "bird still exists and costs money; launch/tpu.sh delete deletes it." in done.stderr
    assert not any("delete" in line for line in cloud.calls())


def test_tpu_keep_replaces_a_preempted_tpu(cloud):
    cloud.add("gcloud", GCLOUD, ANSWERS=["PREEMPTED"])
    cloud.add("python3", PYTHON3, STATUSES=["1", "0"])
    done = cloud.run(cloud.script, "keep", "--config=a.py", **TPU, SPOT="1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "bird is PREEMPTED: creating it again." in done.stdout
    gcloud = [words(line) for line in cloud.calls() if line.startswith("gcloud")]
    once = ["tpu-vm create", "tpu-vm scp", "tpu-vm ssh", "tpu-vm ssh"]
    assert gcloud == [
        *once,
        "tpu-vm describe",
        "tpu-vm delete",
        *once,
        "storage cp",
        "tpu-vm delete",
    ]
    created = [line for line in cloud.calls() if "create" in line]
    assert all("--spot" in line for line in created)


def test_tpu_keep_stops_when_the_program_fails_on_a_ready_tpu(cloud):
    cloud.add("gcloud", GCLOUD, ANSWERS=["READY"])
    cloud.add("python3", PYTHON3, STATUSES=["1", "0"])
    done = cloud.run(cloud.script, "keep", "--config=a.py", **TPU, SPOT="1")
    assert done.returncode == 1
    assert "the program ended with status 1" in done.stdout


def test_slurm_submits_itself_and_requeues_a_stopped_run(stubs):
    stubs.add("sbatch")
    stubs.add("scontrol")
    stubs.add("srun", "exit 143")
    settings = {**SLURM, "WORKDIR": str(stubs.folder / "run")}
    done = stubs.run(LAUNCH / "slurm.sh", "--config=a.py", **settings)
    assert done.returncode == 0, done.stderr
    done = stubs.run(LAUNCH / "slurm.sh", "--config=a.py", **settings, SLURM_JOB_ID="7")
    assert done.returncode == 0, done.stderr
    submitted, started, again = stubs.calls()
    assert submitted.startswith("sbatch") and submitted.endswith("launch/slurm.sh --config=a.py")
    assert "--nodes=2 --ntasks-per-node=4" in submitted
    assert "--coordinator=auto" in started and f"--workdir={settings['WORKDIR']}" in started
    assert again == "scontrol requeue 7"


def test_slurm_exits_with_the_status_of_a_failed_training(stubs):
    stubs.add("srun", "exit 1")
    done = stubs.run(LAUNCH / "slurm.sh", "--config=a.py", **SLURM, SLURM_JOB_ID="7")
    assert done.returncode == 1


def test_a_followed_command_survives_a_lost_connection(stubs):
    slow = ["bash", "-c", "echo begun; sleep 2; echo done; exit 5"]
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([LAUNCH / "follow.sh", "running", *slow], cwd=stubs.folder, timeout=1)
    done = stubs.run(LAUNCH / "follow.sh", "running", *slow)
    assert done.stdout.split() == ["begun", "done"]
    assert done.returncode == 5


def test_after_a_command_has_ended_the_next_one_starts(stubs):
    folder = stubs.folder / "running"
    folder.mkdir()
    (folder / "status").write_text("1\n")
    (folder / "pid").write_text(f"{os.getpid()}\n")  # another process has its number
    done = stubs.run(LAUNCH / "follow.sh", "running", "echo", "again")
    assert done.stdout == "again\n"
    assert done.returncode == 0


@pytest.mark.slow
def test_two_processes_train_on_one_machine(small_config, tmp_path):
    config = several.config_file(small_config("text_encoder"), tmp_path)
    done = subprocess.run(
        [LAUNCH / "local.sh", f"--config={config}", f"--workdir={tmp_path / 'run'}"],
        env={
            **os.environ,
            "PROCESSES": "2",
            "PORT": str(several.free_port()),
            "PYTHON": sys.executable,
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": "2",
        },
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[0] text_encoder 4/4" in done.stdout
    assert [line["step"] for line in several.log(tmp_path / "run")] == [2, 4]
    assert (tmp_path / "run/text_encoder/encoder.json").is_file()
