"""A call through the worker is the call itself: its exit status, surroundings, signals, bytes and code."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT
from small_project import Project
from timeless import content

from dp import files
from dp.commands import cli
from dp.worker import start
from dp.worker.client import COMMANDS, VARIABLE

# Stands for `tokenize` in a copy of the package: says where it runs, then does as it is told.
PROBE = (
    (ROOT / "dp/commands/making.py").read_text()
    + """
import json, os, signal, sys, time
from pathlib import Path
from dp.errors import Interrupted
from dp.training.signals import stop_requests

others = add_arguments, run

def add_arguments(parser, command):
    if command != "tokenize":
        return others[0](parser, command)
    parser.add_argument("--then", default="end")

def run(arguments):
    if arguments.command != "tokenize":
        return others[1](arguments)
    umask = os.umask(0)
    os.umask(umask)
    import torch
    warm = sys.modules["__main__"].__spec__.name == "dp.worker.server"
    facts = {"warm": warm, "folder": os.getcwd(), "environment": dict(os.environ), "umask": umask, "pid": os.getpid(),
             "threads": torch.get_num_threads(), "stdin": sys.stdin.read() if arguments.then == "end" else None}
    with stop_requests() as stop:
        print(json.dumps(facts), flush=True)
        if arguments.then == "wait":
            while not stop:
                time.sleep(0.01)
            raise Interrupted(f"stopped by {stop[0].name}")
        if arguments.then == "stop slowly":
            while not stop:
                time.sleep(0.01)
            print("stopping", flush=True)
            while not Path("go").exists():
                time.sleep(0.01)
            raise Interrupted("stopped")
        if arguments.then == "meet":
            Path(f"{os.getpid()}.here").touch()
            while len(list(Path().glob("*.here"))) < 2:
                time.sleep(0.01)
    if arguments.then == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if arguments.then == "raise":
        raise ValueError("a mistake")
"""
)
STARTER = """
import os, time
from dp.worker import start
from dp.worker.client import VARIABLE
from dp.worker.start import worker
with worker():
    print(os.environ[VARIABLE], flush=True)
    time.sleep(600)
"""
THREADS = {name: "1" for name in os.environ if name.endswith("_NUM_THREADS")} | {"OMP_NUM_THREADS": "1"}


class Worker:
    """A starter with its worker, over a copy of the package, and calls through it."""

    def __init__(self, root: Path, **changes: str) -> None:
        shutil.copytree(ROOT / "dp", root / "dp", ignore=shutil.ignore_patterns("__pycache__"))
        (root / "dp/commands/making.py").write_text(PROBE)
        self.root = root
        self.env = {key: value for key, value in os.environ.items() if key != VARIABLE} | THREADS
        self.env |= {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"} | changes
        self.starter = subprocess.Popen(
            [sys.executable, "-c", STARTER], cwd=root, env=self.env, stdout=subprocess.PIPE, text=True
        )
        self.socket = Path(self.starter.stdout.readline().strip())
        self.clients: list[subprocess.Popen] = []

    def close(self) -> None:
        for process in (*self.clients, self.starter):
            process.kill()
            process.wait()

    def start(self, *arguments, folder=None, python=sys.executable, preexec_fn=None, **changes):
        """A client; `changes` are to its environment, None takes a variable away."""
        env = self.env | {VARIABLE: str(self.socket)} | changes
        client = subprocess.Popen(
            [python, "-m", "dp", *arguments], cwd=folder or self.root, text=True,
            env={key: value for key, value in env.items() if value is not None},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=preexec_fn,
        )  # fmt: skip
        self.clients.append(client)
        return client

    def call(self, *arguments, stdin="", **changes):
        """(exit status, stdout, stderr)"""
        client = self.start(*arguments, **changes)
        out, err = client.communicate(stdin, timeout=PATIENCE)
        return client.returncode, out, err

    def facts(self, **changes):
        status, out, err = self.call("tokenize", **changes)
        assert status == 0, err
        return json.loads(out)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    with closing(Worker(tmp_path_factory.mktemp("worker"))) as found:
        found.facts()  # it has imported, whichever test is the first
        yield found
    wait_until(lambda: not found.socket.parent.exists())


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_job_has_its_clients_surroundings(worker, tmp_path):
    mask = os.umask(0o027)
    try:
        facts = worker.facts(folder=tmp_path, stdin="typed", PROBE_SAYS="a\nb ü", TMPDIR=str(tmp_path))
    finally:
        os.umask(mask)
    assert facts["warm"]
    assert (facts["folder"], facts["stdin"], facts["umask"]) == (str(tmp_path), "typed", 0o027)
    own = {key: value for key, value in facts["environment"].items() if key != VARIABLE}
    assert own == worker.env | {"PROBE_SAYS": "a\nb ü", "TMPDIR": str(tmp_path)}


def test_threads_are_the_clients(worker):
    two = dict.fromkeys(THREADS, "2")
    facts = worker.facts(**two)
    assert facts["warm"] and facts["threads"] == 2


def test_the_server_starts_no_thread_and_keeps_no_connection(worker):
    server = server_of(worker)
    assert len(list(Path(f"/proc/{server}/task").iterdir())) == 1
    wait_until(lambda: len(list(Path(f"/proc/{server}/fd").iterdir())) == 4)  # three streams and the socket
    wait_until(lambda: not Path(f"/proc/{server}/task/{server}/children").read_text())


def server_of(worker):
    worker.facts()  # it has imported
    return int(Path(f"/proc/{worker.starter.pid}/task/{worker.starter.pid}/children").read_text())


def test_exit_statuses(worker):
    status, out, err = worker.call("train", "--run", "x", "--set", "scale")
    assert (status, out) == (2, "") and err.startswith("dp train: --set scale: write it as key=value")
    assert worker.call("tokenize", "--nonsense")[0] == 2
    status, _, err = worker.call("tokenize", "--then", "raise")
    assert status == 1 and err.endswith("ValueError: a mistake\n")
    assert worker.call("tokenize", "--then", "kill")[0] == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_reach_the_job_which_ends_in_order(worker, number):
    client = worker.start("tokenize", "--then", "wait")
    assert json.loads(client.stdout.readline())["warm"]
    client.send_signal(number)
    _, err = client.communicate(timeout=PATIENCE)
    assert (client.returncode, err) == (130, f"dp tokenize: stopped by {number.name}\n")


def test_jobs_run_at_once(worker, tmp_path):
    clients = [worker.start("tokenize", "--then", "meet", folder=tmp_path) for _ in range(2)]
    assert [client.wait(timeout=PATIENCE) for client in clients] == [0, 0]


def test_a_killed_client_takes_its_job_with_it(worker):
    client = worker.start("tokenize", "--then", "wait")
    job = json.loads(client.stdout.readline())["pid"]
    assert alive(job) and job != client.pid
    client.kill()
    wait_until(lambda: not alive(job))


def test_without_a_worker_a_call_runs_by_itself(worker, tmp_path):
    assert not worker.facts(**{VARIABLE: str(tmp_path / "none.sock")})["warm"]
    status, out, _ = worker.call("schema", folder=tmp_path)
    assert status == 0 and out.startswith("wrote")


def test_what_imports_read_makes_a_fresh_process(worker):
    facts = worker.facts(HF_HUB_OFFLINE="0", PROBE_SAYS="here")
    assert not facts["warm"] and facts["environment"]["PROBE_SAYS"] == "here"
    assert not worker.facts(OMP_NUM_THREADS=None)["warm"]


def test_an_interpreter_is_the_same_by_another_name(worker):
    """Snakemake is started by one name of it, and a job says `python`."""
    name = "python" if Path(sys.executable).name == "python3" else "python3"
    assert worker.facts(python=Path(sys.executable).with_name(name))["warm"]


def test_changed_code_runs_in_a_fresh_process(worker):
    path = worker.root / "dp/commands/making.py"
    stat = path.stat()
    try:
        path.write_text(PROBE + "\nadded = 1\n")
        assert not worker.facts()["warm"]
    finally:
        path.write_text(PROBE)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert worker.facts()["warm"]


def test_the_worker_ends_with_its_starter_and_jobs_stop_in_order(tmp_path):
    """Whoever starts again must not find the same job at work in the same folder."""
    with closing(Worker(tmp_path)) as worker:
        client = worker.start("tokenize", "--then", "wait")
        assert json.loads(client.stdout.readline())["warm"]
        worker.starter.kill()
        wait_until(lambda: not worker.socket.parent.exists())
        _, err = client.communicate(timeout=PATIENCE)
        assert (client.returncode, err) == (130, "dp tokenize: stopped by SIGTERM\n")


def test_a_job_that_was_told_to_stop_is_not_told_again_when_the_starter_ends(tmp_path):
    """A second signal ends it at once, with its state unsaved."""
    with closing(Worker(tmp_path)) as worker:
        client = worker.start("tokenize", "--then", "stop slowly")
        assert json.loads(client.stdout.readline())["warm"]
        client.send_signal(signal.SIGINT)
        assert client.stdout.readline() == "stopping\n"
        worker.starter.kill()
        wait_until(lambda: not worker.socket.parent.exists())
        (tmp_path / "go").touch()
        assert client.wait(timeout=PATIENCE) == 130


def test_nohup_is_heard(worker):
    ignored = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    client = worker.start("tokenize", "--then", "wait", preexec_fn=ignored)
    assert json.loads(client.stdout.readline())["warm"]
    client.send_signal(signal.SIGHUP)
    client.send_signal(signal.SIGTERM)
    assert client.communicate(timeout=PATIENCE)[1] == "dp tokenize: stopped by SIGTERM\n"


def test_a_path_too_long_for_a_socket_takes_another_folder(tmp_path):
    long = tmp_path / ("d" * 100)
    long.mkdir()
    with closing(Worker(tmp_path, TMPDIR=str(long))) as worker:
        assert worker.facts()["warm"]
        assert worker.socket.parent.stat().st_mode & 0o777 == 0o700 and not list(long.iterdir())
        assert worker.socket.parent.parent == Path("/tmp")


@pytest.mark.parametrize("fault", ["no folder", "no process"])
def test_without_a_worker_it_says_so_and_every_call_runs_by_itself(tmp_path, monkeypatch, capfd, fault):
    if fault == "no folder":
        monkeypatch.setattr(start, "FOLDERS", [str(tmp_path / "none"), str(tmp_path / ("d" * 100))])
        (tmp_path / ("d" * 100)).mkdir()
    else:
        monkeypatch.setattr(start, "PACKAGE", tmp_path / "none/dp")
    monkeypatch.delenv(VARIABLE, raising=False)
    with start.worker():
        assert VARIABLE not in os.environ
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("No worker (") and line.endswith("each job starts by itself, 3 to 5 s later.")
    assert not list(tmp_path.glob("d*/*"))


@pytest.mark.slow
def test_a_training_and_an_evaluation_write_the_same_files(worker, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    project, run = Project(tmp_path, ["adap_ins_pos"]), "tiny-t5/full/toy/adap_ins_pos/seed0"
    project.prepare()
    found = []
    for setting in (str(worker.socket), ""):
        for command in ("train", "evaluate"):
            status, _, err = worker.call(command, "--run", run, folder=tmp_path, **{VARIABLE: setting})
            assert status == 0, err
        folders = [tmp_path / "results" / phase / "small" / run for phase in ("train", "evaluate")]
        found.append({str(path.relative_to(tmp_path)): content(path) for f in folders for path in f.iterdir()})
        for folder in folders:
            assert files.read_json(folder / "record.json")["made"]["peak_memory_mib"] > 100
            shutil.rmtree(folder)
    assert len(found[0]) == 9 and found[0] == found[1]


def test_the_commands_that_a_worker_takes_are_those_that_import_torch():
    """But for plan, which no rule calls, and fetch-backbone, which is called once a backbone."""
    others = [name.replace("-", "_") for name in cli.COMMANDS if name not in (*COMMANDS, "plan", "fetch-backbone")]
    rooms = {name.replace("-", "_"): "compute" for name in cli.MAKING}
    imports = "".join(f"import dp.{rooms.get(name, 'commands')}.{name}\n" for name in others)
    code = f"{imports}import dp.commands.making\nimport sys\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
    texts = {name: (ROOT / "dp/compute" / f"{name}.py").read_text() for name in COMMANDS}
    assert all("import torch" in text or "dp.backbones.families" in text for text in texts.values())
