"""Completion as shells ask for it: bash, zsh and fish, each in a terminal."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sentiment import groups
from sentiment.cli import build_app
from sentiment.cli.completion import SCRIPTS, answers, complete
from sentiment.text.spec import PATTERNS

BIN = Path(sys.executable).parent
START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SETUP = {
    "bash": 'eval "$(sentiment completion bash)"',
    "zsh": 'autoload -Uz compinit; compinit -u -d zdump; eval "$(sentiment completion zsh)"',
    "fish": "sentiment completion fish | source",
}


class Terminal:
    """A shell behind a terminal."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
            os.environ.update(PATH=path, TERM="dumb", HOME=str(folder), PS1="$ ")
            os.execvp(START[shell][0], START[shell])

    def read_until(self, wanted: str, seconds: float = 20.0) -> str:
        seen = ""
        end = time.monotonic() + seconds
        while wanted not in seen and time.monotonic() < end:
            if select.select([self.file], [], [], 0.2)[0]:
                seen += os.read(self.file, 65536).decode("utf-8", "replace")
                while "\b" in seen:  # zsh goes back and writes over
                    seen = re.sub(r"[^\b]\x08|^\x08", "", seen)
        assert wanted in seen, seen
        return seen

    def write(self, text: str) -> None:
        os.write(self.file, text.encode())

    def close(self) -> None:
        os.close(self.file)
        os.waitpid(self.pid, 0)


@pytest.mark.real
@pytest.mark.parametrize("shell", START)
def test_a_terminal_completes(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    terminal = Terminal(shell, tmp_path)
    try:
        terminal.write(f"{SETUP[shell]}; echo re''ady\n")
        terminal.read_until("ready\r\n")
        for typed, completed in (
            ("sentiment tra\tmodel=lo\t", "sentiment train model=logreg"),
            ("sentiment train vectorizer.token_pattern=uns\t", "token_pattern=unsegmented"),
            # Nothing to erase before the value is typed.
            ("sentiment sweep model.alp\t0.5,1", "sentiment sweep model.alpha=0.5,1"),
        ):
            terminal.write(typed)
            terminal.read_until(completed)
            terminal.write("\x15")  # drop the line
    finally:
        terminal.close()


def test_each_kind_of_word():
    assert {"train", "models"} <= set(answers("sentiment ", build_app))
    assert answers("sentiment models pr", build_app) == ["promote", "prune"]
    assert answers("sentiment models promote --outp", build_app) == ["--output-dir"]
    assert answers("sentiment predict mod", build_app) == []
    assert answers("sentiment nothing x", build_app) == []
    assert "model.solver=" in answers("sentiment train --text a model=logreg model.so", build_app)


def test_choices_are_those_of_the_code():
    for key, words in groups.CHOICES.items():
        assert complete([], f"{key}={words[0]}") == [f"{key}={words[0]}"]
    assert groups.values("vectorizer.token_pattern") == list(PATTERNS)
    assert groups.values("vectorizer.norm") == ["l1", "l2", "null"]
    assert groups.values("nothing.here") == []


def test_nothing_heavy_is_imported_to_complete():
    code = (
        "import sys; from sentiment.cli import build_app;"
        "from sentiment.cli.completion import answers;"
        "assert answers('sentiment train model.C', build_app); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "hydra", "omegaconf", "sklearn", "rich"} & set(done.stdout.split())


def test_every_shell_has_a_script(cli):
    for shell in SCRIPTS:
        assert cli("completion", shell).out == SCRIPTS[shell]
    wrong = cli("completion", "bsh")
    assert wrong.code == 2
    assert "did you mean 'bash'" in wrong.err
