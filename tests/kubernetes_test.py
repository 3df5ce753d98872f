"""launch/kubernetes.sh: the JobSet that it makes, and what it asks of a stub of kubectl."""

import copy
import json
import re
import signal
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from command_stubs import Stubs

from stackgan_jax.runtime import process_flags
from stackgan_jax.runtime.errors import Stopped

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "launch/kubernetes.sh"
SCHEMA = jsonschema.Draft202012Validator(
    json.loads((ROOT / "tests/data/jobset_v0.12.0.json").read_text(encoding="utf-8"))
)
RUN = {"JOBSET_NAME": "birds", "IMAGE": "stackgan-jax:1", "WORKDIR": "gs://bucket/birds"}
TPU = {**RUN, "TPU_TYPE": "tpu-v5-lite-podslice", "TPU_TOPOLOGY": "4x4"}
GPUS = {**RUN, "NODES": "2", "GPUS_PER_NODE": "8"}
CLAIM = {**GPUS, "CLAIM": "disk", "WORKDIR": "/shared/birds"}
# Answers each `get` with the next line of $ANSWERS, and keeps what is applied in the file $MACHINE.
KUBECTL = """
case "$1" in
  get) read -r now < "$ANSWERS" || exit 1
    sed -i 1d "$ANSWERS"
    printf '%s' "$now" ;;
  apply) cat > "$MACHINE/applied" ;;
  logs) echo "stage1 4/4" ;;
esac
"""
RUNS, COMPLETED, FAILED = "JobSet:", "JobSet:Completed", "JobSet:Failed"


def manifest(settings, *flags):
    """The JobSet of these settings."""
    done = subprocess.run(
        [SCRIPT, "manifest", "--config=a.py", *flags],
        env={"PATH": "/usr/bin:/bin", **settings},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)


def job(jobset):
    (one,) = jobset["spec"]["replicatedJobs"]
    return one["template"]["spec"]


def pod(jobset):
    return job(jobset)["template"]["spec"]


def container(jobset):
    (one,) = pod(jobset)["containers"]
    return one


def received(jobset, **variables):
    """The program's flags in a pod, where Kubernetes has replaced $(NAME) and $$."""

    def replaced(match):
        return "$" if match[0] == "$$" else variables.get(match[1], match[0])

    return [re.sub(r"\$\$|\$\((\w+)\)", replaced, each) for each in container(jobset)["args"]]


@pytest.fixture
def cluster(tmp_path):
    """answers → stubs of a cluster that answers so, call by call, how the JobSet is."""

    def make(*answers):
        stubs = Stubs(tmp_path)
        stubs.add("kubectl", KUBECTL, ANSWERS=answers)
        return stubs

    return make


def verbs(stubs):
    return [line.split()[1] for line in stubs.calls()]


@pytest.mark.parametrize(
    "settings",
    [
        TPU,
        GPUS,
        {**TPU, "SPOT": "1", "SERVICE_ACCOUNT": "trainer", "MAX_RESTARTS": "3"},
        {**CLAIM, "FLEX": "1", "GPU_TYPE": "nvidia-l4"},
    ],
)
def test_a_jobset_is_as_the_api_server_takes_it(settings):
    SCHEMA.validate(manifest(settings))


def test_the_schema_refuses_unknown_fields_values_and_types():
    good = manifest(TPU)
    for change in (
        lambda jobset: jobset["spec"].update(failurePolice={}),
        lambda jobset: jobset["spec"]["failurePolicy"]["rules"][0].update(action="Restart"),
        lambda jobset: job(jobset).update(backoffLimit="0"),
        lambda jobset: pod(jobset).pop("containers"),
        lambda jobset: pod(jobset)["nodeSelector"].update(spot=True),
    ):
        bad = copy.deepcopy(good)
        change(bad)
        with pytest.raises(jsonschema.ValidationError):
            SCHEMA.validate(bad)


@pytest.mark.parametrize(
    ("topology", "chips", "nodes"), [("4x4", "", 4), ("2x2x4", "", 4), ("2x4", "8", 1)]
)
def test_a_tpu_slice_has_a_pod_for_each_machine(topology, chips, nodes):
    jobset = manifest({**TPU, "TPU_TOPOLOGY": topology, "CHIPS_PER_NODE": chips})
    assert job(jobset)["parallelism"] == job(jobset)["completions"] == nodes
    assert container(jobset)["resources"]["limits"] == {"google.com/tpu": int(chips or 4)}
    assert pod(jobset)["nodeSelector"] == {
        "cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
        "cloud.google.com/gke-tpu-topology": topology,
    }
    assert ("--coordinator=auto" in received(jobset)) == (nodes > 1)


def test_processes_with_gpus_join_at_the_name_that_jobset_gives_to_pod_0():
    jobset = manifest(GPUS)
    flags = dict(flag.split("=", 1) for flag in received(jobset, JOB_COMPLETION_INDEX="1"))
    name, (replicated,) = jobset["metadata"]["name"], jobset["spec"]["replicatedJobs"]
    assert flags["--coordinator"].split(":")[0] == f"{name}-{replicated['name']}-0-0.{name}"
    assert job(jobset)["completionMode"] == "Indexed"
    assert int(flags["--num_processes"]) == job(jobset)["completions"] == 2
    assert process_flags.is_one_of_several(
        flags["--coordinator"], int(flags["--num_processes"]), int(flags["--process_id"])
    )
    assert container(jobset)["resources"]["limits"] == {"nvidia.com/gpu": 8}


def test_one_machine_trains_alone():
    flags = received(manifest({**GPUS, "NODES": "1"}))
    assert flags == ["--workdir=gs://bucket/birds", "--config=a.py"]


def test_what_the_cluster_takes_away_starts_again_and_failures_are_counted():
    jobset = manifest({**TPU, "MAX_RESTARTS": "3"})
    policy = jobset["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 3  # for what no rule names
    (rule,) = policy["rules"]
    assert rule["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert rule["onJobFailureReasons"] == ["PodFailurePolicy"]
    saved, evicted = job(jobset)["podFailurePolicy"]["rules"]
    assert saved["onExitCodes"] == {
        "containerName": container(jobset)["name"],
        "operator": "In",
        "values": [Stopped(signal.SIGTERM, 1, "run").exit_status],
    }
    assert evicted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert {saved["action"], evicted["action"]} == {"FailJob"}
    # A policy for pods needs the first; with the second no process starts again alone.
    assert pod(jobset)["restartPolicy"] == "Never" and job(jobset)["backoffLimit"] == 0
    assert pod(jobset)["terminationGracePeriodSeconds"] >= 120


def test_flags_reach_the_program_as_they_were_given():
    flags = ["--config.name=it's $(HOME) & \\ $$", '--config.a={"b": [1]} # no', "--x=- y: z"]
    assert received(manifest(GPUS, *flags), HOME="/root")[-3:] == flags


@pytest.mark.parametrize(("setting", "kind"), [("SPOT", "gke-spot"), ("FLEX", "gke-flex-start")])
def test_kinds_of_machines_are_selected_and_tolerated(setting, kind):
    label = f"cloud.google.com/{kind}"
    plain, chosen = pod(manifest(GPUS)), pod(manifest({**GPUS, setting: "1"}))
    assert chosen["nodeSelector"] == {label: "true"} and not plain["nodeSelector"]
    tolerated = [each["key"] for each in chosen["tolerations"]]
    assert tolerated == ["nvidia.com/gpu", label]
    assert [each["key"] for each in plain["tolerations"]] == tolerated[:1]


def test_a_claim_is_mounted_where_the_workdir_lies():
    jobset = manifest(CLAIM)
    (mount,) = (each for each in container(jobset)["volumeMounts"] if each["name"] == "shared")
    (volume,) = (each for each in pod(jobset)["volumes"] if each["name"] == "shared")
    assert volume["persistentVolumeClaim"] == {"claimName": "disk"}
    assert received(jobset)[0].startswith(f"--workdir={mount['mountPath']}/")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({**TPU, "TPU_TOPOLOGY": "16"}, "TPU_TOPOLOGY is '16'; give the slice's shape"),
        ({**TPU, "TPU_TOPOLOGY": "2x3"}, "has 6 chips, which CHIPS_PER_NODE=4 does not divide"),
        ({**TPU, "NODES": "2"}, "leave one of them out"),
        ({**TPU, "SPOT": "1", "FLEX": "1"}, "leave one of them out"),
        ({**TPU, "JOBSET_NAME": "My_Birds"}, "JOBSET_NAME is 'My_Birds'"),
        ({**TPU, "WORKDIR": "runs/birds"}, "it has to be on gs://"),
        ({**GPUS, "WORKDIR": "/shared/birds"}, "or with CLAIM below /shared"),
        ({**GPUS, "NODES": "0"}, "NODES is '0'"),
    ],
)
def test_a_bad_setting_reaches_no_cluster(settings, sentence, cluster):
    stubs = cluster()
    done = stubs.run(SCRIPT, "train", "--config=a.py", **settings)
    assert done.returncode == 2 and sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not stubs.calls()


def test_a_dry_run_prints_the_jobset_and_every_command_and_runs_none(cluster):
    stubs = cluster()
    done = stubs.run(SCRIPT, "train", "--config=a.py", "--dry-run", **TPU)
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()
    commands = [line.split()[2] for line in shown if line.startswith("+ kubectl")]
    assert commands == ["apply", "logs"] and "+ kubectl get" in done.stderr
    assert yaml.safe_load("\n".join(each for each in shown if each[0] != "+")) == manifest(TPU)
    assert not stubs.calls()


def test_train_shows_the_log_of_one_start_after_the_other_until_the_end(cluster):
    stubs = cluster("", RUNS, RUNS, COMPLETED)
    done = stubs.run(SCRIPT, "train", "--config=a.py", **TPU, POLL="0.01", NAMESPACE="team")
    assert done.returncode == 0, done.stderr
    assert verbs(stubs) == ["get", "apply", *["get", "logs"] * 3]
    assert all(line.endswith("--namespace=team") for line in stubs.calls())
    first, *later = (line for line in stubs.calls() if line.startswith("kubectl logs"))
    assert "--since-time" not in first and all("--since-time=2" in line for line in later)
    assert done.stdout.count("stage1 4/4") == 3
    assert yaml.safe_load((stubs.machine / "applied").read_text()) == manifest(TPU)


def test_train_after_an_end_starts_again(cluster):
    stubs = cluster(FAILED, COMPLETED)
    done = stubs.run(SCRIPT, "train", "--config=a.py", **TPU)
    assert done.returncode == 0, done.stderr
    assert verbs(stubs) == ["get", "delete", "apply", "get", "logs"]


def test_follow_reports_a_failure_and_where_all_logs_are(cluster):
    done = cluster(FAILED).run(SCRIPT, "follow", **TPU)
    assert done.returncode == 2
    assert "birds has ended: Failed" in done.stderr and "kubectl logs --prefix" in done.stderr


@pytest.mark.parametrize(
    ("answers", "sentence"), [([""], "there is no JobSet birds"), ([], "does not answer")]
)
def test_follow_ends_without_a_jobset_and_without_a_cluster(answers, sentence, cluster):
    stubs = cluster(*answers)
    done = stubs.run(SCRIPT, "follow", **TPU)
    assert done.returncode == 2 and sentence in done.stderr
    assert verbs(stubs) == ["get"]


def test_stop_waits_until_the_pods_have_saved(cluster):
    stubs = cluster()
    assert stubs.run(SCRIPT, "stop", **TPU).returncode == 0
    assert stubs.calls() == ["kubectl delete jobset birds --cascade=foreground"]
