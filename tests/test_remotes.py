"""DVC remotes for real, on this machine: what was pushed comes whole into a fresh clone, or sync says what is wrong."""

import getpass
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_sync import REPORT, call, clone, recorded, right, same_bytes, sync, untouched, up_to_date

pytestmark = pytest.mark.slow
KEYS = {"access_key_id": "none", "secret_access_key": "none", "region": "us-east-1"}


class Folder:
    """A remote below a folder of this machine: `words` are those of `dvc remote`."""

    def __init__(self, root):
        self.root = root
        self.url, self.options = str(root), {}

    def objects(self):
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file())

    def read(self, name):
        return (self.root / name).read_bytes()

    def write(self, name, content):
        (self.root / name).chmod(0o644)
        (self.root / name).write_bytes(content)

    def delete(self, name):
        (self.root / name).unlink()


class Ssh(Folder):
    """The same folder, through a server."""

    def __init__(self, root, port, key):
        super().__init__(root)
        self.url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{root}"
        self.options = {"keyfile": str(key), "allow_agent": "false"}


class Bucket:
    """A bucket of a server that stands in for S3; `client` is boto3's."""

    def __init__(self, client, name):
        self.client, self.name = client, name
        self.url = f"s3://{name}/store"
        self.options = KEYS | {"endpointurl": client.meta.endpoint_url}
        client.create_bucket(Bucket=name)

    def objects(self):
        listed = self.client.list_objects_v2(Bucket=self.name)
        assert not listed["IsTruncated"]
        return [one["Key"] for one in listed.get("Contents", [])]

    def read(self, name):
        return self.client.get_object(Bucket=self.name, Key=name)["Body"].read()

    def write(self, name, content):
        self.client.put_object(Bucket=self.name, Key=name, Body=content)

    def delete(self, name):
        self.client.delete_object(Bucket=self.name, Key=name)


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def answers(port, process):
    for _ in range(600):
        assert process.poll() is None, process.communicate()[0]
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing answers on port {port}")


def started(command, port):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    answers(port, process)
    return process


def stopped(process):
    process.terminate()
    process.wait()


@pytest.fixture(scope="module")
def s3():
    for module in ("moto", "boto3", "dvc_s3"):
        pytest.importorskip(module, reason=f"no S3: {module} is not installed (pip install -e '.[dev]')")
    port = free_port()
    process = started([Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)], port)
    yield pytest.importorskip("boto3").client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name=KEYS["region"],
        aws_access_key_id=KEYS["access_key_id"], aws_secret_access_key=KEYS["secret_access_key"],
    )  # fmt: skip
    stopped(process)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory):
    """A server with a throw-away key pair, for this user and no one else; no passwords."""
    program = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
    if not program or not shutil.which("ssh-keygen"):
        pytest.skip("no SSH: there is no sshd or ssh-keygen on this machine (apt-get install openssh-server)")
    pytest.importorskip("dvc_ssh", reason="no SSH: dvc_ssh is not installed (pip install -e '.[dev]')")
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder, port = tmp_path_factory.mktemp("sshd"), free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    settings = {"Port": port, "ListenAddress": "127.0.0.1", "HostKey": folder / "host", "PidFile": "none",
                "AuthorizedKeysFile": folder / "user.pub", "StrictModes": "no", "PasswordAuthentication": "no",
                "KbdInteractiveAuthentication": "no", "PermitRootLogin": "prohibit-password", "UsePAM": "no",
                "MaxSessions": 100, "MaxStartups": 100, "Subsystem": "sftp internal-sftp"}  # fmt: skip
    (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
    process = started([program, "-D", "-f", folder / "config"], port)
    yield port, folder / "user"
    stopped(process)


KINDS = ["folder", "s3", "ssh"]
EACH_KIND = pytest.mark.parametrize("remote", KINDS, indirect=True)
"""Where our part depends on the protocol; elsewhere a folder stands for all, and `pytest -m exhaustive` tries each."""
A_FOLDER = pytest.mark.parametrize(
    "remote", ["folder", *(pytest.param(kind, marks=pytest.mark.exhaustive) for kind in KINDS[1:])], indirect=True
)


@pytest.fixture
def remote(request, tmp_path, monkeypatch):
    """An empty remote of each kind, to which the recorded project pushes."""
    match request.param:
        case "folder":
            one = Folder(tmp_path / "remote")
        case "s3":
            one = Bucket(request.getfixturevalue("s3"), f"bucket-{secrets.token_hex(8)}")
        case "ssh":
            one = Ssh(tmp_path / "remote", *request.getfixturevalue("sshd"))
    add_remote(recorded(), one)
    return one


def add_remote(root, remote):
    right(root, "dvc", "remote", "add", "--local", "--force", "--default", "store", remote.url)
    for key, value in remote.options.items():
        right(root, "dvc", "remote", "modify", "--local", "store", key, value)


def push():
    return right(recorded(), "dvc", "push")


def cloned(tmp_path, remote):
    root = clone(tmp_path)
    add_remote(root, remote)
    return root


def killed(root, command, so_far):
    """Kill `command` without mercy in its midst; False where it was quicker."""
    process = call(root, *command, background=True, start_new_session=True)
    while process.poll() is None and not so_far():
        time.sleep(0.001)
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def listings(names):
    return [name for name in names if name.endswith(".dir")]


def in_remote(remote, path):
    """The object of a file of the results, by what DVC says about the recorded project."""
    words = right(recorded(), "dvc", "list", ".", "results", "--recursive", "--show-hash").splitlines()
    md5 = next(words.split()[0] for words in words if words.split()[-1] == path.removeprefix("results/"))
    return next(name for name in remote.objects() if name.endswith(f"{md5[:2]}/{md5[2:]}"))


@EACH_KIND
def test_a_fresh_clone_has_nothing_to_do_after_sync(tmp_path, remote):
    push()
    root = cloned(tmp_path, remote)
    status, words = sync(root)
    assert status == 0 and "up to date" in words, words
    assert up_to_date(root)
    assert (root / REPORT).read_bytes() == (recorded() / REPORT).read_bytes()


@A_FOLDER
def test_a_push_that_was_killed_is_noticed_and_mended_by_a_push(tmp_path, remote):
    for _ in range(20):
        if killed(recorded(), ["dvc", "push", "--jobs", "1"], lambda: len(remote.objects()) > 5):
            break
        for name in remote.objects():
            remote.delete(name)
    there = len(remote.objects())
    assert there > 5
    root = cloned(tmp_path, remote)
    status, words = sync(root)
    assert status == 2 and re.search(r"\d+ files that dvc.lock names are not in the remote", words), words
    assert "has to `dvc push` again" in words and untouched(root)
    done = call(recorded(), "dvc", "push")
    # Killed within a listing of a folder: what docs/sharing.md says then.
    if cut := re.search(r"object (\w\w)(\w+\.dir) is corrupted", done.stdout):
        remote.delete(next(name for name in remote.objects() if name.endswith(f"{cut[1]}/{cut[2]}")))
        push()
    assert len(remote.objects()) > there
    status, words = sync(root)
    assert status == 0 and same_bytes(root), words


@A_FOLDER
def test_lost_objects_are_counted_and_pushed_once_more_without_the_listings(tmp_path, remote):
    push()
    for name in (REPORT, REPORT.replace("results.csv", "results.md")):
        remote.delete(in_remote(remote, name))
    root = cloned(tmp_path, remote)
    status, words = sync(root)
    assert status == 2 and "2 files that dvc.lock names are not in the remote" in words and REPORT in words, words
    assert untouched(root)
    for name in listings(remote.objects()):
        remote.delete(name)
    push()
    status, words = sync(root)
    assert status == 0 and same_bytes(root), words


@EACH_KIND
def test_a_pull_that_was_killed_goes_on(tmp_path, remote):
    push()
    root = cloned(tmp_path, remote)
    objects = root / ".dvc/cache/files/md5"
    for _ in range(20):
        if killed(
            root, [sys.executable, "-m", "dp", "sync"], lambda: objects.is_dir() and len(list(objects.iterdir())) > 3
        ):
            break
        shutil.rmtree(root / ".dvc/cache")
        shutil.rmtree(root / "results")
    status, words = sync(root)
    assert status == 0 and same_bytes(root), words
    for path in sorted(objects.rglob("*"))[::3]:
        if path.is_file():
            path.unlink()
    for path in sorted((root / "results").rglob("*"))[::2]:
        if path.is_file():
            path.unlink()
    status, words = sync(root)
    assert status == 0 and same_bytes(root), words


@A_FOLDER
def test_a_damaged_object_is_never_taken_over_and_can_be_replaced(tmp_path, remote):
    push()
    name = in_remote(remote, REPORT)
    content = bytearray(remote.read(name))
    content[-5] ^= 1
    remote.write(name, bytes(content))
    root = cloned(tmp_path, remote)
    status, words = sync(root)
    assert status == 2 and "1 files are not what their jobs wrote" in words and untouched(root), words
    path, folder, rest = re.search(r"(\S+) \(files/md5/(..)/(\w+)\)", words).groups()
    assert path == REPORT
    for one in [name, *listings(remote.objects())]:
        remote.delete(one)
    push()
    (root / path).unlink()
    (root / ".dvc/cache/files/md5" / folder / rest).unlink()
    status, words = sync(root)
    assert status == 0 and same_bytes(root), words


@A_FOLDER
def test_a_damaged_listing_is_never_taken_over(tmp_path, remote):
    push()
    for name in listings(remote.objects()):
        remote.write(name, remote.read(name)[:-7])
    root = cloned(tmp_path, remote)
    status, words = sync(root)
    assert status == 2 and "Traceback" not in words and untouched(root), words


@A_FOLDER
def test_dvc_itself_notices_damage_where_the_remote_says_verify(tmp_path, remote):
    push()
    name = in_remote(remote, REPORT)
    remote.write(name, remote.read(name)[:-1])
    root = cloned(tmp_path, remote)
    right(root, "dvc", "remote", "modify", "--local", "store", "verify", "true")
    status, words = sync(root)
    assert status == 2 and "Checkout failed for following targets:\nresults/report" in words, words
    assert not (root / REPORT).exists() and untouched(root)


@EACH_KIND
def test_a_remote_out_of_reach_is_named_in_the_words_of_dvc(tmp_path, remote):
    push()
    root = cloned(tmp_path, remote)
    if isinstance(remote, Ssh):
        right(
            root, "dvc", "remote", "modify", "--local", "store", "url", re.sub(r":\d+/", f":{free_port()}/", remote.url)
        )
    elif isinstance(remote, Bucket):
        right(root, "dvc", "remote", "modify", "--local", "store", "url", "s3://no-such-bucket/store")
    else:
        shutil.move(remote.root, tmp_path / "elsewhere")
    status, words = sync(root)
    assert status == 2 and untouched(root), words
