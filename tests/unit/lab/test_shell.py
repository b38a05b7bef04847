"""Commands: what they return, what the log keeps of them, and that Ctrl-C lets them end by themselves."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubeproof.terminal.errors import CommandError
from lab import logs, shell

STUBBORN = "trap 'sleep 0.6; echo ended > {ended}; exit' INT; echo begun > {begun}; while :; do sleep 0.05; done"
DEAF = "trap '' INT TERM; echo begun > {begun}; while :; do sleep 0.05; done"
SECONDS = 20


def test_output_is_returned_and_logged(log_file: Path) -> None:
    assert shell.run(["cat"], stdin="hello\n") == "hello\n"
    text = log_file.read_text()
    assert "$ cat\nhello\n" in text
    assert "exit 0 after" in text


def test_the_log_is_for_its_owner_only(log_file: Path) -> None:
    shell.run(["true"])
    assert log_file.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes the modes of what is there")
def test_an_earlier_log_is_closed_to_others_and_daemons_get_through_its_folder(log_file: Path) -> None:
    log_file.parent.mkdir()
    log_file.touch(mode=0o644)
    shell.run(["true"])
    assert log_file.stat().st_mode & 0o777 == 0o600
    assert log_file.parent.stat().st_mode & 0o777 == 0o711


def test_secrets_stay_out_of_the_log(log_file: Path) -> None:
    assert shell.run(["cat"], stdin="hidden", log_output=False) == "hidden"
    assert "hidden" not in log_file.read_text()
    assert "$ cat" in log_file.read_text()


def test_words_are_never_read_by_a_shell(tmp_path: Path) -> None:
    assert shell.run(["echo", "$HOME; `id`", tmp_path]) == f"$HOME; `id` {tmp_path}\n"


def test_standard_input_is_not_logged_and_is_empty_unless_given(log_file: Path) -> None:
    assert shell.run(["wc", "-c"], stdin="hidden").strip() == "6"
    assert "hidden" not in log_file.read_text()
    assert shell.run(["cat"]) == ""


def test_environment_is_added_to_and_the_folder_is_the_one_given(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("KEPT", "kept")
    output = shell.run(["sh", "-c", 'echo "$KEPT $ADDED"; pwd'], env={"ADDED": "added"}, cwd=tmp_path)
    assert output == f"kept added\n{tmp_path}\n"


def test_output_that_is_no_text_is_taken() -> None:
    assert shell.run(["printf", r"a\377b"]) == "a\ufffdb"


def test_a_log_that_may_not_be_written_spoils_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_file: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(logs, "appending", refuse)
    assert shell.run(["echo", "x"]) == "x\n"


def test_a_failure_names_the_command_and_its_last_lines() -> None:
    with pytest.raises(CommandError, match="exit code 3\nbroken"):
        shell.run(["sh", "-c", "echo broken >&2; exit 3"])
    assert shell.run(["sh", "-c", "echo x; exit 3"], check=False) == "x\n"


def test_a_failure_shows_the_end_of_what_was_written_and_the_log(log_file: Path) -> None:
    script = f"seq {shell.TAIL_LINES + 5} >&2; exit 3"
    with pytest.raises(CommandError) as error:
        shell.run(["sh", "-c", script])
    first, *tail, last = str(error.value).splitlines()
    assert first == f"sh -c {script}: exit code 3"
    assert tail == [str(number) for number in range(6, shell.TAIL_LINES + 6)]
    assert last == f"(full log: {log_file})"
    with pytest.raises(CommandError, match="only output"):
        shell.run(["sh", "-c", "echo only output; exit 1"])


def test_a_program_that_is_not_there_is_told_from_one_that_fails() -> None:
    with pytest.raises(CommandError, match="not found on this machine"):
        shell.run(["no-such-program"])
    assert not shell.succeeds(["no-such-program"])
    assert not shell.succeeds(["false"])
    assert shell.succeeds(["true"])


def test_programs_of_sbin_are_found_whatever_path_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert shell.run(["sh", "-c", 'echo "$PATH"']) == "/usr/sbin:/sbin:/usr/bin:/bin\n"


def test_a_command_that_takes_too_long_is_ended() -> None:
    started = time.monotonic()
    with pytest.raises(CommandError, match="no end after 0s"):
        shell.run(["sleep", "60"], timeout=0.2)
    assert time.monotonic() - started < shell.TERMINATE_SECONDS


def interrupted(script: str, begun: Path, log_file: Path, *, seconds: float = 60) -> "subprocess.CompletedProcess[str]":
    """Run a shell script with ``shell.run`` in a process group of its own, and press Ctrl-C once it has begun."""
    program = (
        "from pathlib import Path; from lab import shell\n"
        f"shell.LOG_FILE = Path({str(log_file)!r})\n"
        f"shell.INTERRUPT_SECONDS = {seconds}; shell.TERMINATE_SECONDS = 0.2\n"
        f"try: shell.run(['sh', '-c', {script!r}])\n"
        "except KeyboardInterrupt: print('interrupted')\n"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + SECONDS
            while not begun.exists() and time.monotonic() < deadline:
                time.sleep(0.02)
            os.killpg(process.pid, signal.SIGINT)
            output, _ = process.communicate(timeout=SECONDS)
        finally:
            process.kill()
    return subprocess.CompletedProcess(command, process.returncode, output)


def test_ctrl_c_lets_a_command_complete_what_it_has_begun(tmp_path: Path, log_file: Path) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    done = interrupted(STUBBORN.format(begun=begun, ended=ended), begun, log_file)
    assert ended.read_text() == "ended\n"
    assert done.stdout == "interrupted\n"


def test_a_command_that_heeds_no_signal_is_killed_in_the_end(tmp_path: Path, log_file: Path) -> None:
    begun = tmp_path / "begun"
    done = interrupted(DEAF.format(begun=begun), begun, log_file, seconds=0.2)
    assert "waiting for sh to end" in done.stdout
    assert done.stdout.endswith("interrupted\n")
