"""The few commands of Slurm that a sweep needs, each answer read as text.

`squeue` says what waits and runs, `sacct` (where the cluster keeps accounts) and `scontrol` (for minutes) how a job
ended. Any of them may be missing or refuse: the answer is then None, never a guess.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

SECONDS = 60.0
"""That an answer may take."""
MAX_ARRAY = 1001
"""Slurm's own default of MaxArraySize, where the cluster does not say."""


class SlurmError(RuntimeError):
    """Slurm is not there, or refuses a job; one sentence."""

    exit_status = 2


@dataclass(frozen=True)
class Live:
    """A task that waits or runs: Slurm's `state`, `node`, and why it waits."""

    job: str
    state: str
    node: str
    reason: str

    @property
    def runs(self) -> bool:
        """Whether it has begun; one that is ending still holds what it has."""
        return self.state not in ("PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT")


@dataclass(frozen=True)
class Ended:
    """How a task ended: Slurm's `state`, and the signal that killed it (0: none)."""

    state: str
    status: int
    signal: int


Task = tuple[str, int]
"""Of a job array: what names the array, and the index."""


def _asked(*command: str, said: str | None = None) -> subprocess.CompletedProcess[str] | None:
    if shutil.which(command[0]) is None:
        return None
    try:
        return subprocess.run(command, input=said, capture_output=True, text=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None


def sbatch(script: str, options: Sequence[str]) -> str:
    """Submits; returns the job's id.

    Raises:
        SlurmError: there is no sbatch, or it refuses.

    """
    done = _asked("sbatch", "--parsable", *options, said=script)
    if done is None:
        raise SlurmError("sbatch does not answer: this is no machine from which jobs are submitted to a Slurm cluster")
    if done.returncode:
        raise SlurmError(f"Slurm refuses these jobs: {_refusal(done.stderr)}")
    return done.stdout.strip().split(";")[0]


def refuse_unsubmittable(script: str, options: Sequence[str]) -> None:
    """What `sbatch --test-only` says against a job.

    Raises:
        SlurmError: it says something.

    """
    sbatch(script, ["--test-only", *options])


def _refusal(text: str) -> str:
    lines = [line.split("error:", 1)[-1].strip() for line in text.splitlines() if line.strip()]
    unlike = list(dict.fromkeys(line.removeprefix("allocation failure: ") for line in lines))
    return "; ".join(unlike) or "it does not say why"


def queue() -> Mapping[Task, Live] | None:
    """(name, index) -> what waits or runs of this user's arrays; None if it is not known."""
    done = _asked("squeue", "-h", "-r", "--me", "-o", "%j|%F|%K|%T|%N|%r")
    if done is None or done.returncode:
        return None
    found = {}
    for line in done.stdout.splitlines():
        name, job, index, state, node, reason = line.split("|", 5)
        if index.isdigit() and state not in ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY"):
            why = "waiting" if reason == "None" else reason  # Slurm has not looked at it yet
            found[name, int(index)] = Live(f"{job}_{index}", state, node, why)
    return found


def ended(jobs: Iterable[str]) -> Mapping[Task, Ended]:
    """(job id, index) -> how it ended, as far as accounts, or the controller's memory of minutes, know."""
    ids = sorted(set(jobs))
    if not ids:
        return {}
    done = _asked("sacct", "-n", "-P", "-X", "-j", ",".join(ids), "-o", "JobID,State,ExitCode")
    if done is not None and done.returncode == 0:
        return _rows(line.split("|") for line in done.stdout.splitlines())
    found: dict[Task, Ended] = {}
    for one in ids:
        done = _asked("scontrol", "-o", "show", "job", one)
        for line in done.stdout.splitlines() if done is not None else ():
            pairs = dict(re.findall(r"(\w+)=(\S+)", line))
            row = f"{one}_{pairs.get('ArrayTaskId')}", pairs.get("JobState", ""), pairs.get("ExitCode", "")
            found |= _rows([row])
    return found


def _rows(rows: Iterable[Sequence[str]]) -> dict[Task, Ended]:
    found = {}
    for task, state, status in rows:
        if (place := re.fullmatch(r"(\d+)_(\d+)", task)) and re.fullmatch(r"\d+:\d+", status):
            code, number = map(int, status.split(":"))
            found[place[1], int(place[2])] = Ended(state.split()[0], code, number)
    return found


def cancel(tasks: Sequence[str]) -> None:
    """Ends tasks, each JOB_INDEX.

    Raises:
        SlurmError: there is no scancel, or it refuses.

    """
    done = _asked("scancel", *tasks)
    if done is None or done.returncode:
        said = _refusal(done.stderr) if done is not None else "scancel does not answer"
        raise SlurmError(f"nothing was cancelled: {said}")


def run_again(task: str, delay: float = 0.0) -> str:
    """Puts a running task back into the queue, which ends it; returns why that cannot be, empty if it can.

    Args:
        task: JOB_INDEX.
        delay: seconds that it is to wait at least.

    """
    done = _asked("scontrol", "requeue", task)
    if done is None or done.returncode:
        return _refusal(done.stderr) if done is not None else "scontrol does not answer"
    if delay:
        _asked("scontrol", "update", f"JobId={task}", f"StartTime=now+{round(delay)}")
    return ""


def state_of(task: str) -> str:
    """Slurm's state of a task now; empty if it is not known."""
    done = _asked("squeue", "-h", "-j", task, "-o", "%T")
    return done.stdout.strip() if done is not None and not done.returncode else ""


def seconds_left(task: str) -> float | None:
    """Until the limit of a running task; None if there is none, or nobody says."""
    done = _asked("squeue", "-h", "-j", task, "-o", "%L")
    told = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", done.stdout.strip()) if done is not None else None
    if told is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in told.groups())
    return float(((24 * days + hours) * 60 + minutes) * 60 + seconds)


def largest_array() -> int:
    """Tasks that one array may have."""
    done = _asked("scontrol", "show", "config")
    told = re.search(r"^MaxArraySize\s*=\s*(\d+)", done.stdout, re.MULTILINE) if done is not None else None
    return max(1, int(told[1]) if told else MAX_ARRAY)
