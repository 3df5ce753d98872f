#!/usr/bin/env bash
# Trains on a Kubernetes cluster that has JobSet: on a TPU slice of GKE, or on GPUs.
#
#   launch/kubernetes.sh [--dry-run] COMMAND [--config=... and more flags of the program]
#
#   train --config=...      starts the run and shows its log; training survives a lost connection,
#                           and `train` again shows the log again
#   manifest --config=...   prints the JobSet that `train` applies
#   follow                  shows the log until the run ends
#   stop                    saves, stops and deletes the JobSet; `train` continues from there
#
# The cluster starts all processes again when it takes a machine away, without limit, and when the
# program fails, MAX_RESTARTS times. Training continues from the last checkpoint.
#
# Settings, from the environment:
#   JOBSET_NAME     the name for the JobSet: lower-case letters, digits and hyphens, at most 40
#   IMAGE           the container image that the repository's Dockerfile makes
#   WORKDIR         the run's folder: gs://BUCKET/..., or with CLAIM a path below /shared
#   for a TPU of GKE:
#     TPU_TYPE        for example tpu-v5-lite-podslice or tpu-v6e-slice
#     TPU_TOPOLOGY    for example 4x4
#     CHIPS_PER_NODE  the number of chips of each machine (4)
#   for GPUs:
#     NODES           the number of machines
#     GPUS_PER_NODE   the number of GPUs of each machine
#     GPU_TYPE        on GKE, for example nvidia-l4; any if it is not set
#   CLAIM           a PersistentVolumeClaim that all machines can write, mounted at /shared
#   SERVICE_ACCOUNT the cluster's service account that may write to gs://
#   NAMESPACE       the namespace; kubectl's own if it is not set
#   SPOT            1: GKE's Spot machines, cheaper, but taken away at any time
#   FLEX            1: GKE's flex-start machines, for which the run waits
#   MAX_RESTARTS    how many times the program may fail (10)
#   POLL            seconds between two queries of its state (10)

set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

STOPPED=143 # the program's exit status after SIGTERM, when it has saved
PORT=12355  # of process 0, for GPUs

# kube VERB ARGUMENT...: runs kubectl in the namespace.
kube() {
  run kubectl "$@" ${NAMESPACE:+"--namespace=$NAMESPACE"}
}

# quoted TEXT: prints the text as a string of YAML.
quoted() {
  local quote="'"
  printf "'%s'" "${1//$quote/$quote$quote}"
}

# literal TEXT: prints the text as a string in which Kubernetes replaces no variables.
literal() {
  local dollar='$'
  quoted "${1//$dollar/$dollar$dollar}"
}

# choose_machines: sets what a pod asks for, and how many pods there are.
choose_machines() {
  selector="" tolerated="" annotations="" security="" joining=()
  if [[ -n "${TPU_TYPE:-}" ]]; then
    choose_tpu
  else
    choose_gpus
  fi
  tolerate "${resource%%:*}"
  [[ "${SPOT:-}${FLEX:-}" != 11 ]] ||
    fail "SPOT=1 and FLEX=1 ask for different machines; leave one of them out."
  if [[ "${SPOT:-}" == 1 ]]; then select_kind cloud.google.com/gke-spot; fi
  if [[ "${FLEX:-}" == 1 ]]; then select_kind cloud.google.com/gke-flex-start; fi
  if ((NODES == 1)); then joining=(); fi
}

choose_tpu() {
  [[ -z "${GPUS_PER_NODE:-}${NODES:-}" ]] ||
    fail "TPU_TYPE is for a TPU, NODES and GPUS_PER_NODE are for GPUs; leave one of them out."
  require TPU_TOPOLOGY "the shape of the slice, for example 4x4"
  : "${CHIPS_PER_NODE:=4}"
  require_numbers CHIPS_PER_NODE
  [[ "$TPU_TOPOLOGY" =~ ^[1-9][0-9]*(x[1-9][0-9]*){1,2}$ ]] ||
    fail "TPU_TOPOLOGY is '$TPU_TOPOLOGY'; give the slice's shape, for example 4x4."
  local chips=$((${TPU_TOPOLOGY//x/*}))
  ((chips % CHIPS_PER_NODE == 0)) ||
    fail "TPU_TOPOLOGY=$TPU_TOPOLOGY has $chips chips, which CHIPS_PER_NODE=$CHIPS_PER_NODE does \
not divide."
  NODES=$((chips / CHIPS_PER_NODE))
  resource="google.com/tpu: $CHIPS_PER_NODE"
  selector="cloud.google.com/gke-tpu-accelerator: $(quoted "$TPU_TYPE"), \
cloud.google.com/gke-tpu-topology: $TPU_TOPOLOGY"
  # All pods run in one pool of nodes, which is one slice.
  annotations="alpha.jobset.sigs.k8s.io/exclusive-topology: cloud.google.com/gke-nodepool"
  security="runAsUser: 0" # The devices may belong to root.
  joining=("'--coordinator=auto'")
}

choose_gpus() {
  require NODES "the number of machines, for example 2; or TPU_TYPE and TPU_TOPOLOGY for a TPU" \
    GPUS_PER_NODE "the number of GPUs of each machine, for example 8"
  require_numbers NODES GPUS_PER_NODE
  resource="nvidia.com/gpu: $GPUS_PER_NODE"
  [[ -z "${GPU_TYPE:-}" ]] || selector="cloud.google.com/gke-accelerator: $(quoted "$GPU_TYPE")"
  # JobSet gives each pod the name JOBSET-JOB-REPLICA-INDEX.JOBSET, and Kubernetes its index.
  joining=("'--coordinator=$JOBSET_NAME-train-0-0.$JOBSET_NAME:$PORT'" "'--num_processes=$NODES'"
    "'--process_id=\$(JOB_COMPLETION_INDEX)'")
}

# tolerate TAINT: lets the pods run on nodes that are kept for pods that ask for them.
tolerate() {
  tolerated+="${tolerated:+, }{key: $1, operator: Exists, effect: NoSchedule}"
}

# select_kind LABEL: lets the pods run only on nodes with this label.
select_kind() {
  selector+="${selector:+, }$1: 'true'"
  tolerate "$1"
}

# manifest FLAG...: prints the JobSet.
manifest() {
  local mounts="" volumes="" arguments="" flag
  if [[ -n "${CLAIM:-}" ]]; then
    mounts=", {name: shared, mountPath: /shared}"
    volumes=", {name: shared, persistentVolumeClaim: {claimName: $(quoted "$CLAIM")}}"
  fi
  for flag in "$(literal "--workdir=$WORKDIR")" ${joining[@]+"${joining[@]}"}; do
    arguments+=$'\n'"                    - $flag"
  done
  for flag; do
    arguments+=$'\n'"                    - $(literal "$flag")"
  done
  cat <<END
apiVersion: jobset.x-k8s.io/v1alpha2
kind: JobSet
metadata:
  name: $JOBSET_NAME
  annotations: {$annotations}
spec:
  failurePolicy:
    maxRestarts: $MAX_RESTARTS
    rules:
      # What the cluster does to the pods does not count as a failure of the program.
      - name: taken_away
        action: RestartJobSetAndIgnoreMaxRestarts
        onJobFailureReasons: [PodFailurePolicy]
  replicatedJobs:
    - name: train
      replicas: 1
      template:
        spec:
          parallelism: $NODES
          completions: $NODES
          completionMode: Indexed
          backoffLimit: 0 # All processes start again together.
          podFailurePolicy:
            rules:
              - action: FailJob # It has saved and stopped.
                onExitCodes: {containerName: train, operator: In, values: [$STOPPED]}
              - action: FailJob
                onPodConditions: [{type: DisruptionTarget, status: 'True'}]
          template:
            spec:
              restartPolicy: Never
              terminationGracePeriodSeconds: 180 # to reach the same step, and to save
              shareProcessNamespace: true # The program is not process 1, which ignores SIGTERM.
              serviceAccountName: $(quoted "${SERVICE_ACCOUNT:-default}")
              securityContext: {fsGroup: 1000} # The image's user may write to the claim.
              nodeSelector: {$selector}
              tolerations: [$tolerated]
              containers:
                - name: train
                  image: $(quoted "$IMAGE")
                  args:$arguments
                  resources: {limits: {$resource}}
                  securityContext: {$security}
                  volumeMounts: [{name: memory, mountPath: /dev/shm}$mounts]
              volumes: [{name: memory, emptyDir: {medium: Memory}}$volumes]
END
}

# state: prints nothing if there is no such JobSet, else JobSet: and, if it has ended, how.
state() {
  local query=(get jobset "$JOBSET_NAME" --ignore-not-found
    "--output=jsonpath={.kind}:{.status.terminalState}")
  if [[ -n "$DRY_RUN" ]]; then
    kube "${query[@]}" >&2
  else
    QUIET=1 kube "${query[@]}"
  fi
}

train() {
  local jobset now
  jobset="$(manifest "$@")"
  [[ -z "$DRY_RUN" ]] || printf '%s\n' "$jobset"
  now="$(state)"
  case "$now" in JobSet:?*) stop ;; esac
  kube apply --filename=- <<< "$jobset" || fail "the cluster did not take the JobSet; if \
$JOBSET_NAME runs with other settings, 'launch/kubernetes.sh stop' stops it."
  follow
}

# follow: shows the log of process 0, of one start after the other, until the JobSet has ended.
follow() {
  local now since="" pods="jobset.sigs.k8s.io/jobset-name=$JOBSET_NAME"
  while now="$(state)"; do
    [[ -n "$now$DRY_RUN" ]] || fail "there is no JobSet $JOBSET_NAME; train makes it."
    # Until the pod runs there is no log.
    QUIET="$since" kube logs --follow --tail=-1 ${since:+"--since-time=$since"} \
      --selector="$pods,batch.kubernetes.io/job-completion-index=0" || true
    case "$now$DRY_RUN" in
      JobSet:Completed | 1) return ;;
      JobSet:?*) fail "$JOBSET_NAME has ended: ${now#*:}. The last lines of all processes: \
kubectl logs --prefix --selector=$pods" ;;
    esac
    since="$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    sleep "$POLL"
  done
  fail "the cluster does not answer; 'launch/kubernetes.sh follow' asks again."
}

# stop: deletes the JobSet, and waits until its pods have saved.
stop() {
  kube delete jobset "$JOBSET_NAME" --cascade=foreground
}

command="$1"
shift
case "$command" in
  follow | stop) require_nothing "$@" ;;
  train | manifest) require_config "$@" ;;
  *) fail "unknown command '$command'; choose train, manifest, follow or stop." ;;
esac
require JOBSET_NAME "the name for the JobSet"
[[ "$JOBSET_NAME" =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]] ||
  fail "JOBSET_NAME is '$JOBSET_NAME'; give a letter, then letters, digits and hyphens, all in \
lower case and at most 40."
: "${MAX_RESTARTS:=10}" "${POLL:=10}"
case "$command" in train | manifest)
  require IMAGE "the container image" WORKDIR "the run's folder, for example gs://BUCKET/birds"
  [[ "$WORKDIR" == gs://* || (-n "${CLAIM:-}" && "$WORKDIR" == /shared/*) ]] ||
    fail "WORKDIR is '$WORKDIR'; it has to be on gs://, or with CLAIM below /shared, or the \
checkpoints are lost with the pods."
  [[ "$*" != *$'\n'* ]] || fail "a flag of the program has a line break; leave it out."
  require_numbers MAX_RESTARTS
  choose_machines
  ;;
esac
"$command" "$@"
