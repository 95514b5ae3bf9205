#!/usr/bin/env bash
# A real SLURM on this one machine, for tests and for trying `muster submit`: munged, slurmctld and one slurmd per node, all
# started by hand (no systemd), with a key, ports and state of their own. Nothing outside the state folder is touched.
#   slurm/one_machine.sh up [--nodes 1|2]   start it, or find it running; prints the variables that commands need
#   slurm/one_machine.sh down               stop it and remove the state folder
#   slurm/one_machine.sh kill-node NAME     what the loss of a machine looks like: its daemon and all its processes die at once
#   slurm/one_machine.sh start-node NAME    it comes back
# The state folder is $MUSTER_SLURM_DIR, default /tmp/muster-slurm-UID. Needs the packages slurm-wlm and munge.
set -euo pipefail

readonly dir="${MUSTER_SLURM_DIR:-${TMPDIR:-/tmp}/muster-slurm-$(id -u)}"
export SLURM_CONF="$dir/slurm.conf"
PATH="$PATH:/usr/sbin:/sbin"

die() {
  printf 'one_machine.sh: %s\n' "$*" >&2
  exit 1
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
  local tries=$(($1 * 10)) what="$2"
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ $((tries--)) -le 0 ]; then
      tail -n 5 "$dir"/*.log >&2 || true
      die "$what; the logs are in $dir"
    fi
    sleep 0.1
  done
}

nodes_of_conf() {
  sed -n 's/^# nodes: //p' "$SLURM_CONF" 2>/dev/null
}

is_up() {
  [ -f "$SLURM_CONF" ] && timeout 10 sinfo -h -o %T 2>/dev/null | grep -qE 'idle|mix|alloc'
}

# all_idle NODES
all_idle() {
  [ "$(timeout 10 sinfo -h -N -p test -t idle -o %N | sort -u | wc -l)" = "$1" ]
}

# free_ports N: ports nobody listens on, below the range the kernel hands out by itself.
free_ports() {
  local port found=0
  while [ $found -lt "$1" ]; do
    port=$((16000 + RANDOM % 16000))
    if ! (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo $port
      found=$((found + 1))
    fi
  done
}

# Whole nodes with four CPUs each, whatever the machine has; GPUs that exist only on paper; jobs of partition `urgent` push
# those of `test` back into the queue. cred_expire: a requeued job starts after 6 s, not 121.
write_conf() {
  local nodes="$1" user ports n
  user=$(id -un)
  mapfile -t ports < <(free_ports $((nodes + 1)))
  cat >"$SLURM_CONF" <<CONF
# nodes: $nodes
ClusterName=muster
SlurmctldHost=localhost
SlurmUser=$user
SlurmdUser=$user
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket=$dir/munge/socket,cred_expire=5
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$dir/jobcomp.txt
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SwitchType=switch/none
StateSaveLocation=$dir/state
SlurmctldPidFile=$dir/slurmctld.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmctldPort=${ports[0]}
SlurmdSpoolDir=$dir/spool.%n
SlurmdPidFile=$dir/slurmd.%n.pid
SlurmdLogFile=$dir/slurmd.%n.log
SlurmdParameters=config_overrides
TmpFS=$dir/tmp.%n
JobRequeue=1
KillWait=5
MinJobAge=300
SlurmctldTimeout=120
SlurmdTimeout=10
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
PartitionName=test Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=30
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
CONF
  for n in $(seq "$nodes"); do
    echo "NodeName=n$n NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=${ports[$n]} CPUs=4 Sockets=1 CoresPerSocket=4" \
      "ThreadsPerCore=1 RealMemory=2000 Gres=gpu:2 State=UNKNOWN" >>"$SLURM_CONF"
    mkdir -p "$dir/spool.n$n" "$dir/tmp.n$n"
  done
  printf "NodeName=n%s Name=gpu File=/dev/null,/dev/zero\n" $(seq "$nodes") >"$dir/gres.conf"
}

# A munge daemon of our own, with our own key: the machine's, if it has one, is left alone.
start_munge() {
  mkdir -p "$dir/munge"
  chmod 700 "$dir/munge"
  [ -f "$dir/munge/key" ] || mungekey --create --keyfile "$dir/munge/key"
  chmod 711 "$dir/munge"
  munged --key-file "$dir/munge/key" --socket "$dir/munge/socket" --pid-file "$dir/munge/pid" \
    --log-file "$dir/munge/log" --seed-file "$dir/munge/seed" --num-threads 2 2>>"$dir/munge.err"
  wait_for 10 "munged did not start" munge -n -S "$dir/munge/socket"
}

start_node() {
  slurmd -f "$SLURM_CONF" -N "$1" 2>>"$dir/slurmd.err" ||
    die "slurmd $1 did not start: $(tail -n 3 "$dir/slurmd.err")"
}

print_variables() {
  cat <<TXT
export SLURM_CONF=$SLURM_CONF MUSTER_SLURM_DIR=$dir
export OMPI_MCA_btl=tcp,self   # two "nodes" of one machine share the names in /dev/shm
TXT
}

up() {
  local nodes=1 program n
  if [ "${1:-}" = --nodes ]; then nodes="${2:-}"; fi
  case "$nodes" in 1|2) ;; *) die "--nodes '$nodes': 1 or 2" ;; esac
  for program in munged mungekey slurmctld slurmd sbatch; do
    command -v $program >/dev/null ||
      die "$program is not installed (Debian: slurm-wlm, munge); ./run slurm-up installs them"
  done
  if is_up && [ "$(nodes_of_conf)" = "$nodes" ]; then
    print_variables
    return
  fi
  down
  mkdir -p "$dir/state"
  chmod 700 "$dir/state"
  write_conf "$nodes"
  start_munge
  slurmctld -f "$SLURM_CONF" 2>>"$dir/slurmctld.err" || die "slurmctld did not start: $(tail -n 3 "$dir/slurmctld.err")"
  for n in $(seq "$nodes"); do
    start_node "n$n"
  done
  wait_for 30 "the nodes did not become idle" all_idle "$nodes"
  print_variables
}

# environment_has PID NAME=VALUE
environment_has() {
  { tr '\0' '\n' <"/proc/$1/environ"; } 2>/dev/null | grep -qxF "$2"
}

# The daemons name the state folder on their command line. A step manager outlives its killed daemon; it has our SLURM_CONF.
processes() {
  local p
  pgrep -f "^[^ ]*(munged|slurmctld|slurmd) .*$dir/" || true
  for p in $(pgrep -x slurmstepd); do
    if environment_has "$p" "SLURM_CONF=$SLURM_CONF"; then echo "$p"; fi
  done
}

# Jobs end first: once the daemons are gone, nothing says which processes belonged to a job.
end_jobs() {
  timeout 10 scancel --quiet --user "$(id -un)" 2>/dev/null || true
  local tries=30
  while [ -n "$(timeout 2 squeue -h -o %i 2>/dev/null)" ] && [ $((tries--)) -gt 0 ]; do
    sleep 0.1
  done
}

down() {
  local pids tries=50
  if [ ! -d "$dir" ]; then return 0; fi
  if is_up; then end_jobs; fi
  mapfile -t pids < <(processes)
  [ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
  while mapfile -t pids < <(processes) && [ ${#pids[@]} -gt 0 ] && [ $((tries--)) -gt 0 ]; do
    sleep 0.1
  done
  [ ${#pids[@]} -eq 0 ] || kill -9 "${pids[@]}" 2>/dev/null || true
  rm -rf "$dir"
}

# The processes of a node's steps carry its name; their managers do not, and are left: they have nothing to manage.
kill_node() {
  local p pids=()
  for p in $(pgrep -u "$(id -u)" .); do
    if environment_has "$p" "SLURMD_NODENAME=$1" && environment_has "$p" "SLURM_CONF=$SLURM_CONF"; then
      pids+=("$p")
    fi
  done
  kill -9 "$(cat "$dir/slurmd.$1.pid")" "${pids[@]}" 2>/dev/null || true
}

restart_node() {
  start_node "$1"
  scontrol update "nodename=$1" state=resume 2>/dev/null || true
  wait_for 30 "$1 did not become idle" all_idle "$(nodes_of_conf)"
}

command="${1:-}"
shift || true
case "$command" in
  up) up "$@" ;;
  down) down ;;
  kill-node) kill_node "$1" ;;
  start-node) restart_node "$1" ;;
  *)
    sed -n '2,/^set/p' "$0" | sed '/^set/d; s/^# \{0,1\}//' >&2
    exit 64
    ;;
esac
