"""A private Slurm on this machine, without systemd and cgroups, for tests: real controller, node daemon and munge."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"

# proctrack/pgid: no cgroups needed. cred_expire: a requeued job would wait for two minutes. config_overrides: more
# CPUs may be declared than there are. MaxArraySize is small, so that larger tables need several arrays.
CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/munge.sock,cred_expire=5
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=10
MinJobAge=3600
MaxArraySize=16
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=100000 State=UNKNOWN
PartitionName=low Nodes={host} Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE
PartitionName=high Nodes={host} Default=NO MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def why_not() -> str | None:
    """Return why there can be no cluster here, or None."""
    for program in (*DAEMONS, "sbatch"):
        if shutil.which(program, path=SBIN) is None:
            return f"no {program} on this machine (Debian: slurm-wlm, munge)"
    return None


class Cluster:
    """A cluster of one node; `folder` must be short, since it holds a socket."""

    def __init__(self, folder: Path, cpus: int) -> None:
        self.folder = folder
        self.environment = {**os.environ, "PATH": SBIN, "SLURM_CONF": str(folder / "slurm.conf")}
        for name in ("state", "spool", "log", "munge"):
            (folder / name).mkdir(parents=True)
        (folder / "munge").chmod(0o711)
        key = folder / "munge" / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        host = socket.gethostname().split(".")[0]
        user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
        text = CONFIGURATION.format(host=host, user=user, folder=folder, cpus=cpus, ports=_free_ports())
        (folder / "slurm.conf").write_text(text)

    def start(self) -> None:
        munge = self.folder / "munge"
        files = {"key-file": "munge.key", "socket": "munge.sock", "seed-file": "munged.seed"}
        options = [f"--{option}={munge / name}" for option, name in files.items()]
        options += [f"--pid-file={self.folder}/munged.pid", f"--log-file={self.folder}/log/munged.log"]
        self.run("munged", "--force", *options)
        self.run("slurmctld", "-c")
        self.start_node()

    def start_node(self) -> None:
        self.run("slurmd", "-c")
        self.wait_for(lambda: self.run("sinfo", "-h", "-o", "%T").split("\n")[0] in ("idle", "mixed", "allocated"), 60)

    def kill(self, daemon: str) -> None:
        """End a daemon the hard way, as a crash does."""
        pid = int((self.folder / f"{daemon}.pid").read_text())
        os.kill(pid, 9)
        self.wait_for(lambda: not Path(f"/proc/{pid}").exists() or "Z" in _state(pid), 10)

    def stop(self) -> None:
        subprocess.run(["timeout", "60", "scancel", "-u", str(os.getuid())], env=self.environment, check=False)
        for daemon in reversed(DAEMONS):
            pid_file = self.folder / f"{daemon}.pid"
            if pid_file.exists():
                subprocess.run(["kill", "-9", pid_file.read_text().strip()], check=False, stderr=subprocess.DEVNULL)

    def run(self, *command: str, timeout: float = 120) -> str:
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=timeout
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def states(self) -> dict[str, str]:
        """Return the state of every job and array task that is still known, by its own number."""
        lines = self.run("squeue", "-h", "-r", "-t", "all", "-o", "%A %T").splitlines()
        return dict(line.split() for line in lines)

    def is_busy(self) -> bool:
        """Return whether anything runs or waits."""
        busy = {"PENDING", "RUNNING", "COMPLETING", "REQUEUED", "CONFIGURING", "SUSPENDED"}
        return bool(busy & set(self.states().values()))

    def wait_until_done(self, seconds: float) -> None:
        self.wait_for(lambda: not self.is_busy(), seconds)

    def wait_for(self, condition: object, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = "".join(path.read_text()[-1500:] for path in (self.folder / "log").glob("*.log"))
                raise TimeoutError(f"waited for {seconds} s; squeue:\n{self.run('squeue')}\n{logs}")
            time.sleep(0.2)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def _free_ports() -> list[int]:
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
