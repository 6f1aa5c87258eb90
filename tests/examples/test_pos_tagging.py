"""The tagging example on a treebank of four sentences: it reads, scores, learns, repeats and reports."""

import gzip
import random
import sys
from pathlib import Path

import pytest
import torch

from maskwork.objectives import IGNORED, Reason, collate, pad

EXAMPLES = Path(__file__).parents[2] / "examples"

# By columns: ID, FORM, UPOS. A range of words, an empty node, a missing tag, a "#" that is a word.
SENTENCES = [
    [("1-2", "don't", "_"), ("1", "do", "AUX"), ("2", "n't", "PART"), ("3", "run", "VERB"), ("4", "!", "PUNCT")],
    [("1", "The", "DET"), ("2", "cat", "NOUN"), ("2.1", "cat", "NOUN"), ("3", "ran", "_"), ("4", "home", "ADV")],
    [("1", "#", "SYM"), ("2", "4", "NUM"), ("3", "ran", "VERB")],
    [("1", "Rindfleischetikettierung", "X")],
]


def conllu(sentences) -> str:
    blocks = []
    for number, sentence in enumerate(sentences):
        lines = [f"# sent_id = {number}", "# text = 1\tnot a word"]
        lines += ["\t".join([index, form, "_", tag, *["_"] * 6]) for index, form, tag in sentence]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)  # the last sentence lacks its empty line


@pytest.fixture
def treebank(tmp_path: Path) -> Path:
    with gzip.open(tmp_path / "xx-ud-train.conllu.gz", "wt", encoding="utf-8") as file:
        file.write(conllu(SENTENCES))
    (tmp_path / "xx-ud-dev.conllu").write_text(conllu(SENTENCES[1:3]), encoding="utf-8")
    (tmp_path / "xx-ud-test.conllu").write_text(
        conllu([[("1", "The", "DET"), ("2", "dog", "NOUN")]]).replace("\n", "\r\n"), encoding="utf-8", newline=""
    )
    return tmp_path


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    import pos_tagging

    return pos_tagging


@pytest.fixture
def corpus(example, treebank: Path):
    """The training sentences, their lexicon and their examples."""
    train = example.read_conllu(treebank / "xx-ud-train.conllu.gz")
    lexicon = example.Lexicon(train, example.read_conllu(treebank / "xx-ud-test.conllu"))
    return train, lexicon, lexicon.examples(train)


def models(example, lexicon):
    torch.manual_seed(0)
    return [example.BiLSTM(lexicon, hidden=32), example.Transformer(lexicon, longest=8, width=32)]


def test_only_words_are_read(example, treebank: Path):
    train = example.read_conllu(treebank / "xx-ud-train.conllu.gz")
    assert [sentence.words for sentence in train] == [
        ("do", "n't", "run", "!"), ("The", "cat", "ran", "home"), ("#", "4", "ran"), ("Rindfleischetikettierung",),
    ]  # fmt: skip
    assert train[1].tags == ("DET", "NOUN", "_", "ADV")
    assert example.read_conllu(treebank / "xx-ud-test.conllu") == [(("The", "dog"), ("DET", "NOUN"))]


def test_a_missing_tag_is_not_scored(example, corpus):
    train, lexicon, examples = corpus
    for sentence, found in zip(train, examples, strict=True):
        assert found.tokens.tolist() == [lexicon.ids[word] for word in sentence.words]
        wanted = [IGNORED if tag == "_" else example.TAGS.index(tag) for tag in sentence.tags]
        assert found.targets.tolist() == wanted
        assert found.weights.tolist() == [float(tag != "_") for tag in sentence.tags]
    assert examples[1].reasons.tolist() == [Reason.SCORED, Reason.SCORED, Reason.MISSING_LABEL, Reason.SCORED]
    assert len(example.predict(models(example, lexicon)[0], examples).tags) == sum(map(len, examples)) - 1


def test_only_training_gives_rows_and_characters(corpus):
    _, lexicon, _ = corpus
    assert [word for word, i in lexicon.ids.items() if lexicon.rows[i]] == ["ran"]  # the one that is there twice
    assert [word for word, i in lexicon.ids.items() if not lexicon.known[i]] == ["dog"]
    spelling = {word: lexicon.spelling[i].tolist() for word, i in lexicon.ids.items()}
    d, o = spelling["do"][:2]
    assert spelling["dog"] == [d, o, spelling["Rindfleischetikettierung"][-1], *[0] * 17]
    assert 1 not in spelling["do"]
    assert len(spelling["Rindfleischetikettierung"]) == 20
    assert spelling["Rindfleischetikettierung"][10:] == [spelling["Rindfleischetikettierung"][i] for i in range(10, 20)]


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_sentence_is_tagged_alike_alone_and_beside_padding(example, corpus, side: str):
    _, lexicon, examples = corpus
    for model in models(example, lexicon):
        model.double().eval()
        batch = collate(pad(examples, side=side))
        together = model(batch)
        for row, one in enumerate(examples):
            alone = model(collate(pad([one])))[0]
            torch.testing.assert_close(together[row][batch.document_ids[row] >= 0], alone)


def test_both_learn(example, corpus):
    _, lexicon, examples = corpus
    for model in models(example, lexicon):
        assert example.fit(model, examples, examples, 40, 0, example.Progress(disable=True)) == 1.0
        assert example.predict(model, examples).accuracy() == 1.0


def test_the_best_epoch_is_kept(example, corpus, monkeypatch: pytest.MonkeyPatch):
    _, lexicon, examples = corpus
    model = models(example, lexicon)[0]
    seen: list[tuple[float, dict[str, torch.Tensor]]] = []

    def judged(model, dev):
        accuracy = (0.5, 0.75, 0.25)[len(seen)]
        seen.append((accuracy, {name: tensor.clone() for name, tensor in model.state_dict().items()}))
        return example.Predictions(torch.zeros(4), torch.zeros(4), (torch.arange(4) >= 4 * accuracy).long())

    monkeypatch.setattr(example, "predict", judged)
    assert example.fit(model, examples, examples, 3, 0, example.Progress(disable=True)) == 0.75
    kept = model.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in seen[1][1].items())
    assert not torch.equal(kept["head.1.weight"], seen[2][1]["head.1.weight"])


def test_the_same_seed_gives_the_same_weights(example, corpus):
    _, lexicon, examples = corpus
    ends = []
    for _ in range(2):
        trained = models(example, lexicon)
        for model in trained:
            example.fit(model, examples, examples, 2, 3, example.Progress(disable=True))
        ends.append([parameter for model in trained for parameter in model.parameters()])
    assert all(map(torch.equal, *ends))


def test_every_example_is_in_one_batch(example, corpus):
    _, _, examples = corpus
    order = random.Random(0)
    for size in (1, 3, 9):
        rows = [row for batch in example.batches(examples, size, order) for row in batch.input_ids.tolist()]
        assert sorted(row[0] for row in rows) == sorted(int(one.tokens[0]) for one in examples)


def test_scores_by_hand(example):
    from tagging_report import scores

    #        A: 3 right, 1 taken for B; B: 2 right, 2 taken for A; C: there is none, and none is given
    found = scores(torch.tensor([[3, 1, 0], [2, 2, 0], [0, 0, 0]]))
    expected = torch.tensor([[60, 75, 200 / 3], [200 / 3, 50, 400 / 7], [float("nan")] * 3], dtype=torch.float64)
    torch.testing.assert_close(found, expected, equal_nan=True)
    predictions = example.Predictions(torch.tensor([7, 8, 9]), torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    assert predictions.accuracy() == pytest.approx(2 / 3)
    assert predictions.accuracy(predictions.forms > 7) == 0.5
    confusion = predictions.confusion()
    assert (confusion[0, 0], confusion[1, 0], confusion[1, 1], confusion.sum()) == (1, 1, 1, 3)


def run(example, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["pos_tagging.py", *map(str, arguments)])
    example.main()


def test_the_whole_run(example, treebank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    picture = tmp_path / "new" / "confusion.png"
    run(example, monkeypatch, "--data", treebank, "--epochs", 1, "--picture", picture)
    said = capsys.readouterr().out
    assert "train: 4 sentences, 12 words" in said
    for name in ("BiLSTM", "Transformer"):
        assert f"{name}: dev " in said
        assert f"{name}, epoch 1: dev " in said
    for tag in example.TAGS:
        assert f"│ {tag} " in said
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_folder_without_a_treebank_is_said(example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(example, monkeypatch, "--data", tmp_path)
    assert "got none in" in capsys.readouterr().err
