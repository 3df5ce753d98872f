"""The launch scripts: their commands, and their behaviour with stubs of gcloud and Slurm.

`kubernetes_test.py` has what launch/kubernetes.sh alone does.
"""

import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import several
from command_stubs import Stubs

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
# What the real tools accept: options by command, with the version that they were copied from.
GRAMMAR = json.loads((Path(__file__).parent / "launch_commands.json").read_text(encoding="utf-8"))
KUBERNETES = {
    "JOBSET_NAME": "birds",
    "IMAGE": "stackgan-jax:tpu",
    "WORKDIR": "gs://bucket/birds",
    "TPU_TYPE": "tpu-v5-lite-podslice",
    "TPU_TOPOLOGY": "4x4",
    "POLL": "0.01",
}
SLURM = {"NODES": "2", "GPUS_PER_NODE": "4", "WORKDIR": "/shared/birds"}
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


@pytest.fixture
def stubs(tmp_path):
    """Stubs of everything that could start work or cost money, should a dry run run it."""
    stubs = Stubs(tmp_path)
    for name in ("gcloud", "kubectl", "sbatch", "srun", "scontrol", "mkdir", "tar", "python"):
        stubs.add(name)
    return stubs


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
        ("tpu.sh", ["all", "--config=a.py"], {**TPU, "WORKDIR": ""}, ["WORKDIR"]),
        ("kubernetes.sh", ["stop"], {}, ["JOBSET_NAME"]),
        ("kubernetes.sh", ["train", "--config=a"], {"JOBSET_NAME": "b"}, ["IMAGE", "WORKDIR"]),
        (
            "kubernetes.sh",
            ["train", "--config=a"],
            {**KUBERNETES, "TPU_TYPE": ""},
            ["NODES", "GPUS_PER_NODE"],
        ),
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
        ("kubernetes.sh", ["paint"], KUBERNETES, "unknown command 'paint'; choose train"),
        (
            "tpu.sh",
            ["keep", "--config=a.py"],
            {**TPU, "WORKDIR": "runs/birds"},
            "it has to be on gs://",
        ),
    ],
)
def test_a_bad_setting_is_rejected_in_one_sentence(script, arguments, settings, sentence, stubs):
    done = stubs.run(LAUNCH / script, *arguments, **settings)
    assert done.returncode == 2
    assert sentence in done.stderr


@pytest.mark.parametrize("script", ["local.sh", "slurm.sh", "tpu.sh", "kubernetes.sh"])
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
    arguments = [*arguments, "--config=a b.py"]
    for place in range(len(arguments) + 1):
        given = [*arguments[:place], "--dry-run", *arguments[place:]]
        done = stubs.run(LAUNCH / script, *given, **settings)
        assert done.returncode == 0, done.stderr
        shown = _shown(done)
        assert len(shown) == count
        assert any("--config=a" in line and "\\ b.py" in line for line in shown)
        assert not any("--dry-run" in line for line in shown)
        assert not stubs.calls()
        assert not list((stubs.folder / "tmp").iterdir())


def _shown(done):
    """The commands that a dry run printed."""
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("+ ")]


@pytest.mark.parametrize(
    ("script", "arguments"),
    [
        ("tpu.sh", ["create", "--dry_run"]),
        ("tpu.sh", ["create", "-n"]),
        ("tpu.sh", ["create", "--dryrun=1"]),
        ("tpu.sh", ["delete", "bird"]),
        ("tpu.sh", ["all", "--spot", "--config=a.py"]),
        ("tpu.sh", ["train"]),
        ("kubernetes.sh", ["train"]),
        ("kubernetes.sh", ["train", "--spot", "--config=a.py"]),
        ("kubernetes.sh", ["stop", "birds"]),
        ("kubernetes.sh", ["follow", "--dry_run"]),
        ("slurm.sh", ["submit", "--config=a.py"]),
        ("slurm.sh", ["--config=a.py", "--dry_run"]),
        ("local.sh", ["--processes=2", "--config=a.py"]),
    ],
)
def test_an_unknown_argument_is_refused_before_anything_runs(script, arguments, stubs):
    every = {**TPU, **SLURM, **KUBERNETES, "PROCESSES": "2"}
    done = stubs.run(LAUNCH / script, *arguments, **every)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert not stubs.calls()


def test_a_question_for_help_anywhere_creates_nothing(stubs):
    done = stubs.run(LAUNCH / "tpu.sh", "create", "--help", **TPU)
    assert done.returncode == 0 and "Settings, from the environment:" in done.stdout
    assert not stubs.calls()


def _printed_by_any_call(stubs):
    """Every command of gcloud, kubectl and Slurm that the scripts can print."""
    printed = _shown(stubs.run(LAUNCH / "slurm.sh", "--dry-run", "--config=a.py", **SLURM))
    printed.append("+ scontrol requeue 7")
    for command, queued, workdir in itertools.product(
        ("create", "setup", "train", "fetch", "delete", "keep", "all"),
        ("0", "1"),
        ("gs://bucket/birds", "runs/birds"),
    ):
        settings = {**TPU, "QUEUED": queued, "WORKDIR": workdir, "SPOT": "1"}
        flags = ["--config=a.py"] if command in ("train", "keep", "all") else []
        printed += _shown(stubs.run(LAUNCH / "tpu.sh", command, *flags, "--dry-run", **settings))
    for command in (["train", "--config=a.py"], ["follow"], ["stop"]):
        settings = {**KUBERNETES, "NAMESPACE": "team"}
        printed += _shown(stubs.run(LAUNCH / "kubernetes.sh", *command, "--dry-run", **settings))
    words = {tuple(shlex.split(line)[1:]) for line in printed}
    tools = ("gcloud", "kubectl", "sbatch", "srun", "scontrol")
    return [call for call in words if call[0] in tools]


def _options(call):
    """The name of a call's command in GRAMMAR, and the options of the tool itself in the call."""
    name = next(
        name for name in GRAMMAR["commands"] if call[: name.count(" ") + 1] == (*name.split(),)
    )
    rest = call[name.count(" ") + 1 :]
    if name in ("sbatch", "srun"):  # What follows is the program with its own options.
        rest = tuple(itertools.takewhile(lambda word: word.startswith("-"), rest))
    return name, {word.partition("=")[0] for word in rest if word.startswith("-")}


def _require_known(call):
    """Fails unless the real tool takes these options, and gets those it can't do without."""
    name, given = _options(call)
    command = GRAMMAR["commands"][name]
    known = {*" ".join(command["options"]).split(), *GRAMMAR["everywhere"].get(call[0], ())}
    assert not given - known, (name, given - known)
    assert not {*command["required"].split()} - given, (name, given)


def test_the_real_tools_know_every_option_that_the_scripts_give(stubs):
    for call in _printed_by_any_call(stubs):
        _require_known(call)


@pytest.mark.slow
def test_the_installed_tools_know_them_too(stubs, tmp_path):
    calls = _printed_by_any_call(stubs)
    for name in {_options(call)[0] for call in calls} - {"scontrol requeue"}:
        if not shutil.which(name.split()[0]):
            continue
        done = subprocess.run(
            [*name.split(), "--help"],
            env={**os.environ, "CLOUDSDK_CONFIG": str(tmp_path / "no account")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        shown = set(re.findall(r"--[a-z0-9][a-z0-9-]*", re.sub(r"\x1b\[[0-9;]*m", "", done.stdout)))
        used = (_options(call)[1] for call in calls if _options(call)[0] == name)
        everywhere = GRAMMAR["everywhere"].get(name.split()[0], ())
        assert not set().union(*used) - shown - {*everywhere}, name


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
    for line in cloud.calls():
        if line.startswith("gcloud"):
            _require_known(tuple(shlex.split(line)))
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
    submitted, started, again = [line for line in stubs.calls() if not line.startswith("mkdir")]
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
