"""A run that was killed or broken off, and resumed, equals one that was not: weights and metrics."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

import maskwork
from helpers import killed_run
from maskwork.errors import CheckpointError, RunError
from maskwork.objectives import CausalLM
from maskwork.training import RunFolder, evaluate, train


def equal(left, right):
    left, right = left.state_dict(), right.state_dict()
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def comparable(run):
    return [{key: value for key, value in record.items() if key != "timing"} for record in run.metrics()]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL, which Windows lacks")
def test_a_killed_process(tmp_path):
    source = str(Path(maskwork.__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])}
    killed = subprocess.run(
        [sys.executable, killed_run.__file__, str(tmp_path / "killed"), "9"],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run = RunFolder.open(tmp_path / "killed")
    assert not run.model_path.exists()
    assert run.metrics()[-1]["step"] == 9  # beyond the checkpoint of step 5, and a half-written line behind

    resumed = killed_run.main(tmp_path / "killed", resume=True)
    straight = killed_run.main(tmp_path / "straight")
    assert equal(resumed, straight)
    other = RunFolder.open(tmp_path / "straight")
    assert comparable(run) == comparable(other)
    assert run.model_path.read_bytes() == other.model_path.read_bytes()
    assert run.checkpoint_path.read_bytes() == other.checkpoint_path.read_bytes()


@pytest.fixture(scope="module")
def finished(make_model, make_config, make_run_at, rows, tmp_path_factory):
    """The run that nothing disturbs, trained once; the function that makes another like it."""
    config = make_config(steps=8, eval_every=2, save_every=3)

    def validate(model):
        return {"nats": evaluate(model, rows, CausalLM(), 3).nats}

    def go(run, *, validate=validate, on_step=None, resume=False, objective=None):
        model = make_model()
        objective = objective or CausalLM()
        train(model, rows, objective, config, run=run, validate=validate, resume=resume, on_step=on_step)
        return model

    run = make_run_at(tmp_path_factory.mktemp("finished") / "run", config)
    return go, go(run), run, validate, config


@pytest.fixture
def straight(finished, make_run_at, tmp_path):
    """The finished run in a folder of this test, and what makes another like it."""
    go, model, run, validate, config = finished
    shutil.copytree(run.path, tmp_path / "straight")
    copy = RunFolder.open(tmp_path / "straight")
    return go, model, copy, validate, lambda name: make_run_at(tmp_path / name, config)


def press():
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("at", [1, 2, 3, 5, 7, 8])
def test_ctrl_c_in_a_step(straight, at):
    go, model, run, _, new_run = straight
    broken_off = new_run("broken")
    calls = []

    def objective(rows, generator=None):
        calls.append(1)
        if len(calls) == at:
            press()  # in the middle of step `at`, which is finished
        return CausalLM()(rows)

    objective.__qualname__ = "same"
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        go(broken_off, objective=objective)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(calls) == at
    assert broken_off.metrics()[-1]["step"] == at
    assert not broken_off.model_path.exists()
    broken_off.load_model()

    assert equal(go(broken_off, objective=objective, resume=True), model)
    assert len(calls) == 8
    assert comparable(broken_off) == comparable(run)


def test_ctrl_c_between_steps(straight):
    go, model, run, _, new_run = straight
    broken_off = new_run("broken")
    with pytest.raises(KeyboardInterrupt):
        go(broken_off, on_step=lambda report: press() if report.step == 4 else None)
    assert equal(go(broken_off, resume=True), model)
    assert comparable(broken_off) == comparable(run)


def test_ctrl_c_in_a_validation_does_not_wait_and_the_resumed_run_makes_up_for_it(straight):
    go, model, run, validate, new_run = straight
    broken_off = new_run("broken")
    ends = []

    def slow(model):
        if len(ends) == 1:
            press()
        ends.append(1)
        return validate(model)

    with pytest.raises(KeyboardInterrupt):
        go(broken_off, validate=slow)
    assert len(ends) == 1
    assert "validation" not in broken_off.metrics()[-1]
    assert equal(go(broken_off, resume=True), model)
    assert comparable(broken_off) == comparable(run)


def test_a_second_ctrl_c_while_saving_keeps_the_checkpoint_before(straight, monkeypatch):
    from maskwork.training import _checkpoint

    go, model, run, _, new_run = straight
    broken_off, write, saved = new_run("broken"), _checkpoint.save_file, []

    def impatient(tensors, path, metadata):
        if saved:
            path.write_bytes(b"half of it")
            press()
        write(tensors, path, metadata)
        saved.append(broken_off.checkpoint_path)

    monkeypatch.setattr(_checkpoint, "save_file", impatient)
    with pytest.raises(KeyboardInterrupt):
        go(broken_off, on_step=lambda report: press() if report.step == 5 else None)
    monkeypatch.undo()
    assert len(saved) == 1
    assert sorted(entry.name for entry in broken_off.path.iterdir()) == [
        "checkpoint.safetensors",
        "config.json",
        "metrics.jsonl",
    ]
    reports = []
    assert equal(go(broken_off, resume=True, on_step=reports.append), model)
    assert reports[0].step == 4  # from the checkpoint of step 3
    assert comparable(broken_off) == comparable(run)


def test_a_second_ctrl_c_in_a_step_ends_it_at_once(straight):
    go, model, run, _, new_run = straight
    broken_off, calls = new_run("broken"), []

    def objective(rows, generator=None):
        calls.append(1)
        if len(calls) == 5:
            press()
            press()
            calls.append("never")
        return CausalLM()(rows)

    objective.__qualname__ = "same"
    with pytest.raises(KeyboardInterrupt):
        go(broken_off, objective=objective)
    assert "never" not in calls
    assert equal(go(broken_off, objective=objective, resume=True), model)
    assert comparable(broken_off) == comparable(run)


def test_ctrl_c_in_the_last_moment_still_leaves_a_finished_run(straight):
    go, model, run, _, new_run = straight
    broken_off = new_run("broken")
    with pytest.raises(KeyboardInterrupt):
        go(broken_off, on_step=lambda report: press() if report.step == 8 else None)
    result = go(broken_off, resume=True)
    assert equal(result, model)
    assert equal(broken_off.load_model(), model)
    assert comparable(broken_off) == comparable(run)


def test_resuming_a_finished_run_changes_nothing(straight):
    go, model, run, _, _ = straight
    before = run.metrics_path.read_bytes(), run.checkpoint_path.read_bytes(), run.model_path.read_bytes()
    reports = []
    assert equal(go(run, resume=True, on_step=reports.append), model)
    assert reports == []
    assert before == (
        run.metrics_path.read_bytes(),
        run.checkpoint_path.read_bytes(),
        run.model_path.read_bytes(),
    )


def test_resuming_before_the_first_checkpoint_starts_over(straight):
    go, model, run, _, new_run = straight
    started = new_run("started")
    started.log({"step": 1, "loss": 99.0})
    assert equal(go(started, resume=True), model)
    assert comparable(started) == comparable(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("config", "got train.learning_rate = 0.002 where '.*' has 0.003"),
        ("steps", "got train.steps = 9 where '.*' has 8"),
        ("rows", "got rows = .* where '.*' has .*"),
        ("objective", r"got objective = same_length where '.*' has CausalLM\(mask=causal\)"),
        ("data", "got data.digest = 3e where '.*' has 2f"),
    ],
)
def test_resume_refuses_another_run(straight, make_model, make_config, rows, change, message):
    _, _, run, _, _ = straight

    def same_length(some, generator=None):
        return CausalLM()(some)

    same_length.__qualname__ = "same_length"
    values = {"steps": 8, "eval_every": 2, "save_every": 3}
    values |= {"config": {"learning_rate": 2e-3}, "steps": {"steps": 9}}.get(change, {})
    objective = same_length if change == "objective" else CausalLM()
    if change == "data":
        run = RunFolder(run.path, run.config | {"data": {"digest": "3e"}})
    before = run.metrics_path.read_bytes()
    with pytest.raises(CheckpointError, match=message):
        train(
            make_model(),
            rows[:-1] if change == "rows" else rows,
            objective,
            make_config(**values),
            run=run,
            resume=True,
        )
    assert run.metrics_path.read_bytes() == before


def test_a_damaged_checkpoint_leaves_the_run_as_it_was(straight):
    go, _, run, _, _ = straight
    run.checkpoint_path.write_bytes(run.checkpoint_path.read_bytes()[:-10])
    before = run.metrics_path.read_bytes()
    with pytest.raises(CheckpointError, match="is damaged"):
        go(run, resume=True)
    assert run.metrics_path.read_bytes() == before


def test_signal_handlers_are_put_back(straight):
    go, _, _, _, new_run = straight
    seen = []

    def own(number, frame):
        seen.append(number)

    before = signal.signal(signal.SIGINT, own)
    try:
        inside = []
        go(new_run("own"), on_step=lambda _: inside.append(signal.getsignal(signal.SIGINT)))
        assert own not in inside
        assert signal.getsignal(signal.SIGINT) is own

        def fails(report):
            raise RuntimeError("no")

        with pytest.raises(RuntimeError, match="no"):
            go(new_run("fails"), on_step=fails)
        assert signal.getsignal(signal.SIGINT) is own

        # As under nohup: who asked not to be interrupted isn't.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        go(new_run("ignored"), on_step=lambda _: press())
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == []


def test_off_the_main_thread_nothing_is_installed(straight):
    go, model, _, _, new_run = straight
    before, inside, results = signal.getsignal(signal.SIGINT), [], []
    run = new_run("thread")

    def work():
        results.append(go(run, on_step=lambda _: inside.append(signal.getsignal(signal.SIGINT))))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert set(inside) == {before}
    assert equal(results[0], model)


def test_any_error_between_steps_saves_what_was_done(straight):
    go, model, run, _, new_run = straight
    broken_off = new_run("broken")

    def leaves(report):
        if report.step == 5:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        go(broken_off, on_step=leaves)
    reports = []
    assert equal(go(broken_off, resume=True, on_step=reports.append), model)
    assert reports[0].step == 6
    assert comparable(broken_off) == comparable(run)


def test_a_run_is_trained_by_one_process_at_a_time(straight):
    pytest.importorskip("fcntl", reason="Windows has no flock")
    go, model, _, _, new_run = straight
    run = new_run("shared")
    refused = []

    def second(report):
        if report.step == 4:
            with pytest.raises(RunError, match="in use by another process"):
                go(run, resume=True)
            refused.append(True)

    assert equal(go(run, on_step=second), model)
    assert refused
    go(run, resume=True)  # the lock is gone
    assert not [entry for entry in run.path.iterdir() if entry.name.startswith(".")]


def test_a_strange_validation_in_the_metrics_is_passed_over(straight):
    go, model, run, _, _ = straight
    run.log({"step": 8, "validation": 5})
    assert equal(go(run, resume=True), model)
