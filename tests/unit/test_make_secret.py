"""The secret of the containers: made once, whole, for one reader."""

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from example_app.make_secret import make_secret
from memsession.demo.settings import Settings

PROJECT = Path(__file__).parents[2]


def test_a_secret_is_made_once(tmp_path):
    """The second call leaves it as it is; nothing else lies in the folder."""
    file = tmp_path / "secret"

    assert make_secret(file)
    first = file.read_text()
    assert not make_secret(file)

    assert file.read_text() == first
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_of_many_at_once_one_makes_it(tmp_path):
    """Nobody's secret is replaced by another one."""
    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(lambda _: make_secret(tmp_path / "secret"), range(64)))

    assert made.count(True) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_the_counter_takes_it(tmp_path):
    """As it was written, without its line end."""
    file = tmp_path / "secret"
    make_secret(file)

    settings = Settings.from_environment({"COUNTER_SECRET_FILE": str(file), "COUNTER_POOL": "memory://"})

    assert settings.secret_key == file.read_text().strip()
    assert len(settings.secret_key) >= 43


def test_as_a_program_it_says_what_it_did(tmp_path):
    """Without the secret itself; a folder that is not there is an error."""

    def call(*words):
        command = [sys.executable, "-m", "example_app.make_secret", *words]
        return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)

    file = tmp_path / "secret"
    said = [call(str(file)).stdout, call(str(file)).stdout]
    missing = call(str(tmp_path / "nowhere" / "secret"))

    assert said == ["A new secret was made.\n", "There is a secret, which stays.\n"]
    assert missing.returncode == 1
    assert missing.stderr.startswith("The secret cannot be made: ")
    assert len(missing.stderr.splitlines()) == 1
    assert call().returncode == 1
