import importlib

import pytest
from typer.testing import CliRunner

from whymatch.client.cli.app import app
from whymatch.client.cli.rooms import COMMANDS

pytest.importorskip("torch")


def run(*arguments: str):
    return CliRunner(env={"COLUMNS": "120", "TERM": "dumb"}).invoke(app, arguments)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_another_room_shows_its_own_help_under_its_own_name(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert f"Usage: whymatch {command} " in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_another_room_runs_alone(command, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["whatever", "--help"])
    with pytest.raises(SystemExit):
        importlib.import_module(COMMANDS[command]).main()
    assert f"Usage: whymatch {command} " in capsys.readouterr().out


def test_wrong_arguments_of_another_room_are_misuse():
    result = run("evaluate", "no-such-folder")
    assert result.exit_code == 2
    assert "no-such-folder" in result.stderr


def test_study_goes_by_its_old_name_which_is_not_listed():
    assert run("benchmark", "interactive", "--help").stdout == run("study", "interactive", "--help").stdout
    listed = run("--help").stdout
    assert " study " in listed
    assert " benchmark " not in listed
