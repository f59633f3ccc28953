"""A real Slurm of one node for the tests: everything in one folder, on loopback, with its own munge and accounting.

Nothing outside the folder is written: munge gets a key and a socket of its own, Slurm is pointed at its configuration
by SLURM_CONF, the accounts lie in a MariaDB that is started here. Root is needed (slurmd starts jobs as their users).

    with OneNode(folder) as slurm:
        subprocess.run(["sinfo"], env=slurm.environment)

or `python tests/empirical/one_node_slurm.py FOLDER`, which brings one up until Ctrl-C.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

NEEDED = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "mariadb-install-db", "sbatch", "sacctmgr")
_SBIN = "/usr/sbin:/usr/local/sbin:/sbin"
CPUS = 4
"""That the node pretends to have, whatever the machine has."""


def missing() -> list[str]:
    """Programs that are not installed, or the rights that are."""
    path = f"{os.environ.get('PATH', '')}:{_SBIN}"
    found = [name for name in NEEDED if shutil.which(name, path=path) is None]
    return found or ([] if os.geteuid() == 0 else ["root"])


def _free_ports(count: int) -> list[int]:
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def _until(ready: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} did not come up within {seconds:g} s")
        time.sleep(0.3)


class OneNode:
    """A context manager; `environment` is what commands need to reach it."""

    def __init__(self, folder: Path):
        self.folder = folder.absolute()
        self.host = socket.gethostname().split(".")[0]
        self._running: list[subprocess.Popen[bytes]] = []
        self.environment: dict[str, str] = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))},
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{os.environ.get('PATH', '')}:{_SBIN}",
        }

    def __enter__(self) -> OneNode:
        try:
            self._bring_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._running:
            subprocess.run(["scancel", "-u", "root"], env=self.environment, check=False, capture_output=True)
            time.sleep(1)
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.clear()

    def _bring_up(self) -> None:
        for name in ("state", "spool", "log", "mysql", "munge"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        controller, node, accounts, database = _free_ports(4)
        self._munge()
        self._write("slurm.conf", self._slurm_conf(controller, node, accounts))
        for index in range(2):  # as /dev/null: something to count
            os.mknod(self.folder / f"gpu{index}", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        self._write("gres.conf", f"NodeName={self.host} Name=gpu File={self.folder}/gpu[0-1]\n")
        self._write("cgroup.conf", "CgroupPlugin=cgroup/v1\nCgroupMountpoint=/sys/fs/cgroup\n")
        self._write("slurmdbd.conf", self._accounts_conf(accounts, database), 0o600)
        self._database(database)
        self._start("slurmdbd", "-D")
        self._asks("sacctmgr", "-n", "show", "cluster")
        subprocess.run(["sacctmgr", "-i", "add", "cluster", "one"], env=self.environment, check=False,
                       capture_output=True)  # fmt: skip
        self._start("slurmctld", "-D", "-c")
        self._start("slurmd", "-D", "-N", self.host)
        _until(lambda: "idle" in self.asked("sinfo", "-h", "-o", "%T"), "the node")

    def asked(self, *command: str) -> str:
        """What a command prints; empty if it fails."""
        return subprocess.run(command, env=self.environment, check=False, capture_output=True, text=True).stdout

    def _asks(self, *command: str) -> None:
        def answers() -> bool:
            return not subprocess.run(command, env=self.environment, check=False, capture_output=True).returncode

        _until(answers, command[0])

    def _write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def _start(self, *command: str, environment: Mapping[str, str] | None = None) -> None:
        with (self.folder / "log" / f"{command[0]}.out").open("wb") as out:
            found = subprocess.Popen(
                command, env=environment or self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        self._running.append(found)

    @property
    def _socket(self) -> Path:
        return self.folder / "munge" / "socket"

    def _munge(self) -> None:
        key = self.folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        (self.folder / "munge").chmod(0o755)
        places: Sequence[str] = (
            f"--key-file={key}", f"--socket={self._socket}", f"--pid-file={self.folder}/munge/pid",
            f"--log-file={self.folder}/munge/log", f"--seed-file={self.folder}/munge/seed",
        )  # fmt: skip
        self._start("munged", "--foreground", "--force", *places)
        _until(self._socket.exists, "munged", 20)

    def _database(self, port: int) -> None:
        place = self.folder / "mysql"
        subprocess.run(
            ["mariadb-install-db", "--user=root", f"--datadir={place}", "--auth-root-authentication-method=normal"],
            check=True, capture_output=True,
        )  # fmt: skip
        self._start(
            "mariadbd", "--no-defaults", "--user=root", f"--datadir={place}", f"--socket={place}/socket",
            "--bind-address=127.0.0.1", f"--port={port}", f"--pid-file={place}/pid", "--innodb-buffer-pool-size=64M",
        )  # fmt: skip
        client = ["mariadb", f"--socket={place}/socket", "-e"]
        self._asks(*client, "select 1")
        said = "create database slurm_acct_db; create user 'slurm'@'%' identified by 'one'; "
        said += "grant all on slurm_acct_db.* to 'slurm'@'%'; drop user if exists ''@'localhost'; flush privileges"
        subprocess.run([*client, said], check=True, capture_output=True)

    def _accounts_conf(self, port: int, database: int) -> str:
        return "\n".join(
            [
                "AuthType=auth/munge", f"AuthInfo=socket={self._socket}", f"DbdHost={self.host}", "DbdAddr=127.0.0.1",
                f"DbdPort={port}", "SlurmUser=root", f"LogFile={self.folder}/log/slurmdbd.log",
                f"PidFile={self.folder}/slurmdbd.pid", "StorageType=accounting_storage/mysql",
                "StorageHost=127.0.0.1", f"StoragePort={database}", "StorageUser=slurm", "StoragePass=one",
                "StorageLoc=slurm_acct_db", "",
            ]
        )  # fmt: skip

    def _slurm_conf(self, controller: int, node: int, accounts: int) -> str:
        one, log = self.folder, self.folder / "log"
        return "\n".join(
            [
                "ClusterName=one", f"SlurmctldHost={self.host}(127.0.0.1)", "SlurmUser=root", "SlurmdUser=root",
                # a job that is run again waits for as long as credentials live
                "AuthType=auth/munge", f"AuthInfo=socket={self._socket},cred_expire=5", f"SlurmctldPort={controller}",
                f"SlurmdPort={node}", f"StateSaveLocation={one}/state", f"SlurmdSpoolDir={one}/spool",
                f"SlurmctldPidFile={one}/slurmctld.pid", f"SlurmdPidFile={one}/slurmd.pid",
                f"SlurmctldLogFile={log}/slurmctld.log", f"SlurmdLogFile={log}/slurmd.log",
                # neither cgroups nor systemd: processes are followed by their parents, memory is sampled
                "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "JobAcctGatherType=jobacct_gather/linux",
                "JobAcctGatherFrequency=2", "JobAcctGatherParams=OverMemoryKill",
                "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny", "MpiDefault=none", "ReturnToService=2",
                "SwitchType=switch/none", "KillWait=20", "MinJobAge=300", "JobRequeue=1", "MaxArraySize=8",
                "SchedulerType=sched/backfill",
                "SchedulerParameters=bf_interval=3,sched_interval=3,batch_sched_delay=0,requeue_delay=1",
                "SelectType=select/cons_tres", "SelectTypeParameters=CR_Core_Memory", "DefMemPerCPU=500",
                "GresTypes=gpu", "SlurmdParameters=config_overrides",
                "AccountingStorageType=accounting_storage/slurmdbd", "AccountingStorageHost=127.0.0.1",
                f"AccountingStoragePort={accounts}", "AccountingStorageTRES=gres/gpu",
                f"AccountingStoragePass={self._socket}",  # the socket of munge, for the way to slurmdbd
                f"NodeName={self.host} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory=16000 Gres=gpu:2 State=UNKNOWN",
                f"PartitionName=main Nodes={self.host} Default=YES MaxTime=1-00:00:00 State=UP", "",
            ]
        )  # fmt: skip


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    with OneNode(Path(sys.argv[1])) as up:
        print(f"export SLURM_CONF={up.environment['SLURM_CONF']}", flush=True)
        try:
            while True:
                time.sleep(60)
        except KeyboardInterrupt:
            pass
