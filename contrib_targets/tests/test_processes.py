"""Other people's programs: every way to fail is told with its cause, and nothing is left running."""

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from reidfw_targets.processes import run_logged

from reidfw_core.api import StorageError, ToolFailed, ToolNotFound

from .vendor_tool import write_program

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals and file modes of POSIX")


def test_output_is_streamed_to_the_log_as_it_comes(tmp_path):
    program = write_program(tmp_path / "slow", "import time\nprint('first', flush=True)\ntime.sleep(2)\nprint('last')")
    log, seen = tmp_path / "logs" / "slow.log", []
    thread = threading.Thread(target=lambda: run_logged([program, "x y"], timeout_s=20, log=log, on_line=seen.append))
    thread.start()
    while not seen and thread.is_alive():
        time.sleep(0.02)
    assert log.read_text().splitlines() == [f"$ {program} 'x y'", "first"]
    thread.join()
    assert seen == ["first", "last"]
    assert log.read_text().splitlines()[-1] == "last"


def test_both_streams_and_bytes_that_are_no_text(tmp_path):
    program = write_program(
        tmp_path / "loud",
        "import sys\nsys.stdout.buffer.write(b'a\\xffb\\n')\nsys.stdout.flush()\nprint('err', file=sys.stderr)",
    )
    assert run_logged([program], timeout_s=20).output == "a\ufffdb\nerr"


def test_environment_and_folder(tmp_path):
    program = write_program(
        tmp_path / "where", "import os\nprint(os.getcwd(), os.environ['TAG'], 'PATH' in os.environ)"
    )
    done = run_logged([program], timeout_s=20, cwd=tmp_path, environment={"TAG": "t"})
    assert done.output == f"{tmp_path} t True"


def test_a_status_other_than_zero_shows_the_last_lines(tmp_path):
    program = write_program(tmp_path / "bad", "for i in range(100): print('line', i)\nraise SystemExit(7)")
    with pytest.raises(ToolFailed) as caught:
        run_logged([program, "generate"], timeout_s=20, log=tmp_path / "bad.log")
    error = caught.value
    assert error.exit_code == 3
    assert error.code == 7
    assert error.message.startswith("bad generate ended with status 7. Its last lines:")
    assert "line 99" in error.message
    assert "line 80" not in error.message
    assert str(tmp_path / "bad.log") in error.message
    assert "line 0\n" in (tmp_path / "bad.log").read_text()


def test_a_status_without_a_word(tmp_path):
    with pytest.raises(ToolFailed, match=r"ended with status 1\. It printed nothing"):
        run_logged([write_program(tmp_path / "mute", "raise SystemExit(1)")], timeout_s=20)


@posix
def test_death_by_a_signal(tmp_path):
    program = write_program(tmp_path / "dies", "import os\nprint('so far', flush=True)\nos.kill(os.getpid(), 11)")
    with pytest.raises(ToolFailed, match=r"(?s)ended by the signal SIGSEGV.*so far"):
        run_logged([program], timeout_s=20)


@posix
def test_a_hanging_program_is_stopped_with_its_children(tmp_path):
    program = write_program(
        tmp_path / "hangs",
        """
        import subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(child.pid, flush=True)
        time.sleep(60)
        """,
    )
    seen: list[str] = []
    started = time.monotonic()
    with pytest.raises(ToolFailed, match=r"did not end within 1 s and was stopped") as caught:
        run_logged([program], timeout_s=1, on_line=seen.append)
    assert caught.value.code is None
    assert time.monotonic() - started < 30
    assert _gone(int(seen[0]))


@posix
@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_leaves_nothing_running(tmp_path):
    program = write_program(tmp_path / "long", "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    seen: list[str] = []

    def interrupt(line: str) -> None:
        seen.append(line)
        os.kill(os.getpid(), 2)

    with pytest.raises(KeyboardInterrupt):
        run_logged([program], timeout_s=60, on_line=interrupt)
    assert _gone(int(seen[0]))


@pytest.mark.parametrize("case", ["absent", "not executable", "a folder", "not for this computer"])
@posix
def test_what_cannot_be_started(tmp_path, case):
    path = tmp_path / "tool"
    if case == "a folder":
        path.mkdir()
    elif case != "absent":
        path.write_bytes(b"\x7fELF nonsense")
        path.chmod(0o755 if case == "not for this computer" else 0o644)
    with pytest.raises(ToolNotFound, match=f"{path} cannot be started: "):
        run_logged([path], timeout_s=5)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told(tmp_path):
    program = write_program(tmp_path / "talks", "for i in range(100000): print('line', i)")
    with pytest.raises(StorageError, match="No space left on device"):
        run_logged([program], timeout_s=20, log=Path("/dev/full"))


def _gone(pid: int) -> bool:
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z":
            return True
        time.sleep(0.05)
    return False
