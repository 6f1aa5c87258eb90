"""`RunFolder`: made only where nothing is lost, opened only where a run is."""

import json

import pytest
import torch
from safetensors.torch import save_file

from maskwork._shared.checksum import tensors_crc32
from maskwork.errors import ArgumentError, CheckpointError, RunError
from maskwork.training import RunFolder

SECTIONS = {"model": {"width": 4}, "train": {"steps": 3}, "data": {}}


def test_create_then_open(tmp_path):
    run = RunFolder.create(tmp_path / "deep" / "run", SECTIONS)
    assert run.config == SECTIONS
    assert RunFolder.open(str(run.path)) == run
    written = json.loads((run.path / "config.json").read_text())
    assert written == {"maskwork_run": 1, "version": "0.1.0", **SECTIONS}
    assert [entry.name for entry in run.path.iterdir()] == ["config.json"]


def test_create_refuses_to_overwrite(tmp_path):
    run = RunFolder.create(tmp_path / "run", SECTIONS)
    with pytest.raises(RunError, match="already holds a run; continue that run with --resume"):
        RunFolder.create(run.path, SECTIONS)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds 'notes\.txt' and 1 more; give another --out"):
        RunFolder.create(tmp_path, SECTIONS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    with pytest.raises(RunError, match=r"holds 'config\.json'; give another"):
        RunFolder.create(tmp_path / "other", SECTIONS)
    with pytest.raises(RunError, match=r"notes\.txt"):
        RunFolder.create(tmp_path / "notes.txt", SECTIONS)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_create_checks_its_sections(tmp_path):
    with pytest.raises(ArgumentError, match="sections model, train, data, got model"):
        RunFolder.create(tmp_path / "run", {"model": {}})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "got none in"),
        ("{", "a damaged file"),
        (b"\xff\xfe\x00", "a damaged file"),
        ("[" * 100_000, "a damaged file"),
        ("1" * 5000, "a damaged file"),
        ("[]", "another program"),
        ('{"model_type": "llama"}', "another program"),
        (
            '{"maskwork_run": 2, "version": "9.1"}',
            "got format 2 in '.*', written by maskwork 9.1; use that version",
        ),
        ('{"maskwork_run": 1, "model": {}, "train": 3}', "got no table 'train'"),
    ],
)
def test_open_refuses(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RunError, match=message) as caught:
        RunFolder.open(tmp_path)
    assert "\n" not in str(caught.value)


def test_open_refuses_what_is_no_folder(tmp_path):
    with pytest.raises(RunError, match="got nothing at"):
        RunFolder.open(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="got a file at"):
        RunFolder.open(tmp_path / "file")


def test_metrics_are_lines_that_can_be_taken_back(tmp_path):
    run = RunFolder.create(tmp_path / "run", SECTIONS)
    assert run.metrics() == []
    run.truncate_metrics(3)
    run.sync_metrics()
    for step in (1, 2, 3):
        run.log({"step": step, "loss": 1 / step})
    run.log({"step": 3, "validation": {"bits_per_byte": 2.5}})
    run.sync_metrics()
    assert [record["step"] for record in run.metrics()] == [1, 2, 3, 3]
    run.truncate_metrics(2)
    assert run.metrics() == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}]
    assert run.metrics_path.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("tail", [b'{"step": 3, "lo', b'{"step": 3}', b'{"step": 3, "\xc3'])
def test_a_half_written_last_line_is_left_out(tmp_path, tail):
    run = RunFolder.create(tmp_path / "run", SECTIONS)
    run.log({"step": 1})
    with run.metrics_path.open("ab") as file:
        file.write(tail)
    assert run.metrics() == [{"step": 1}]
    run.truncate_metrics(5)
    run.log({"step": 2})
    assert run.metrics() == [{"step": 1}, {"step": 2}]


@pytest.mark.parametrize("line", ["not json", "[1]", '{"loss": 1}', ""])
def test_a_damaged_line_is_named(tmp_path, line):
    run = RunFolder.create(tmp_path / "run", SECTIONS)
    run.metrics_path.write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
    with pytest.raises(RunError, match="another line 2 in"):
        run.metrics()


@pytest.mark.parametrize(
    "record", [{"loss": 1.0}, {"step": 1, "loss": float("nan")}, {"step": 1, "loss": object()}, {"step": True}]
)
def test_log_refuses_what_json_cannot_hold(tmp_path, record):
    run = RunFolder.create(tmp_path / "run", SECTIONS)
    with pytest.raises(ArgumentError, match="a line of metrics"):
        run.log(record)
    assert not run.metrics_path.exists()


def test_load_model(make_run, make_config, make_model):
    run = make_run(make_config())
    with pytest.raises(RunError, match="continue with --resume"):
        run.load_model()
    model = make_model(seed=3)
    run.save_model(model)
    loaded = run.load_model()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), loaded.parameters(), strict=True))
    run.model_path.write_bytes(run.model_path.read_bytes()[:-4])
    with pytest.raises(CheckpointError):
        run.load_model()


def test_a_changed_byte_of_the_weights_is_noticed(make_run, make_config, make_model):
    run = make_run(make_config())
    run.save_model(make_model())
    content = run.model_path.read_bytes()
    for place in (*range(0, 400, 7), len(content) // 2, len(content) - 1):
        run.model_path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(CheckpointError):
            run.load_model()
    run.model_path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"damaged \(its checksum"):
        run.load_model()


def test_weights_of_an_old_run_and_weights_put_there_by_hand_are_read(make_run, make_config, make_model):
    """Before the run folder did, `save_weights` wrote the checksum, in the same place of the file."""
    run, model = make_run(make_config()), make_model(seed=3)
    tensors = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for metadata in ({"maskwork_weights_crc32": str(tensors_crc32(tensors))}, None):
        save_file(tensors, run.model_path, metadata)
        loaded = run.load_model().state_dict()
        assert all(torch.equal(tensors[name], loaded[name]) for name in tensors)
    for metadata in ({"maskwork_weights_crc32": "1"}, {"format": "pt"}):
        save_file(tensors, run.model_path, metadata)
        with pytest.raises(CheckpointError, match="checksum does not match"):
            run.load_model()
    save_file({name: tensor for name, tensor in tensors.items() if name != "norm.weight"}, run.model_path)
    with pytest.raises(CheckpointError, match=r"without 'norm\.weight'"):
        run.load_model()


def test_load_model_refuses_a_configuration_of_no_model(tmp_path):
    with pytest.raises(RunError, match="can't be built"):
        RunFolder.create(tmp_path / "run", SECTIONS).load_model()


def test_load_tokenizer_says_when_there_is_none(tmp_path):
    with pytest.raises(RunError, match=r"got none in"):
        RunFolder.create(tmp_path / "run", SECTIONS).load_tokenizer()


def test_an_opened_run_knows_its_mask_its_context_and_whether_it_has_a_tokenizer(make_run, make_config, make_model):
    run = make_run(make_config())
    model = make_model()
    run.save_model(model)
    opened = run.open_model()
    assert opened.masks == (model.mask,)
    assert (opened.vocab_size, opened.context) == (model.config.vocab_size, model.config.context)
    assert opened.encode is None
    assert not opened.model.training
