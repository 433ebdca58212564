import pytest
import typer

from whymatch.embed.terminal import exit_on, plot_file, progress_bar, short


def test_the_end_of_a_long_name_is_shown():
    assert short("bundled") == "bundled"
    assert short("a/" * 30 + "model.pth") == "…" + ("a/" * 30 + "model.pth")[-39:]


def test_a_plot_that_could_not_be_saved_is_refused(tmp_path):
    assert plot_file(None) is None
    assert plot_file(tmp_path / "plot.svg") == tmp_path / "plot.svg"
    with pytest.raises(typer.BadParameter, match=r"must end in one of \.pdf, \.png, \.svg"):
        plot_file(tmp_path / "plot.bmp")
    with pytest.raises(typer.BadParameter, match="no folder"):
        plot_file(tmp_path / "missing" / "plot.png")


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [(OSError("the disk is full"), "whymatch: the disk is full\n", 1), (KeyboardInterrupt(), "stopped\n", 130)],
)
def test_an_expected_failure_is_one_line_and_a_status(capsys, error, line, code):
    with pytest.raises(typer.Exit) as end, exit_on(OSError, stopped="stopped"):
        raise error
    assert end.value.exit_code == code
    assert capsys.readouterr().err == line


def test_an_unexpected_failure_is_not_hidden():
    with pytest.raises(ZeroDivisionError), exit_on(OSError, stopped="stopped"):
        raise ZeroDivisionError


def test_a_bar_shows_what_is_done_and_a_note(capsys):
    with progress_bar(4, "training") as bar:
        bar.advance(1)
        bar.reach(4, "loss 0.5")
    shown = capsys.readouterr().err
    assert "training" in shown
    assert "4/4" in shown
    assert "loss 0.5" in shown
