"""Training with a curriculum: what each step scores, and that a resumed run equals one that wasn't broken off."""

import signal

import pytest
import torch
from torch.nn import functional as F

from maskwork.errors import CheckpointError
from maskwork.objectives import CausalLM, Curriculum, DifficultyHistory, Reason
from maskwork.training import train
from maskwork.training._curriculum import CurriculumState


def rarity(batch):
    """A difficulty that is given: the id of the token to predict."""
    return batch.targets.float()


MEASURED = Curriculum(start=0.4, steps=6)
GIVEN = Curriculum(start=0.4, steps=6, difficulty=rarity)


def weights_of(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize("curriculum", [MEASURED, GIVEN], ids=["measured", "given"])
@pytest.mark.parametrize("at", [1, 3, 4])
def test_resumed_equals_uninterrupted(make_model, make_config, make_run, rows, curriculum, at):
    config = make_config(steps=7, save_every=2)

    def go(run, **options):
        model = make_model()
        train(model, rows, CausalLM(), config, run=run, curriculum=curriculum, **options)
        return model

    straight_run, run = make_run(config, "straight"), make_run(config, "broken")
    straight = go(straight_run)

    def press(report):
        if report.step == at:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        go(run, on_step=press)
    assert weights_of(go(run, resume=True)).equal(weights_of(straight))
    assert run.checkpoint_path.read_bytes() == straight_run.checkpoint_path.read_bytes()
    plain = make_model()
    train(plain, rows, CausalLM(), config)
    assert not weights_of(plain).equal(weights_of(straight))


@pytest.mark.parametrize("curriculum", [MEASURED, GIVEN], ids=["measured", "given"])
def test_however_a_step_is_cut(make_model, make_config, rows, curriculum):
    def go(batch_rows, accumulate):
        model = make_model().double()
        config = make_config(steps=5, batch_rows=batch_rows, accumulate=accumulate)
        return train(model, rows, CausalLM(), config, curriculum=curriculum).loss, weights_of(model)

    (whole_loss, whole), (cut_loss, cut) = go(4, 1), go(1, 4)
    # Float64 round-off through five steps of AdamW, which divides by the root of squared gradients.
    assert whole_loss == pytest.approx(cut_loss, rel=1e-9)
    torch.testing.assert_close(whole, cut, rtol=1e-7, atol=1e-9)


def test_each_step_scores_what_the_losses_before_it_leave(make_model, make_config, rows, monkeypatch):
    reported, parts = {}, {}
    own = CurriculumState.within_reach

    def spying(self, batch, logits, step):
        kept = own(self, batch, logits, step)
        losses = F.cross_entropy(logits.detach().flatten(0, 1), batch.targets.flatten(), reduction="none")
        parts.setdefault(step, []).append((losses.view(batch.targets.shape), batch.scored, kept))
        return kept

    monkeypatch.setattr(CurriculumState, "within_reach", spying)
    config = make_config(steps=8, batch_rows=2, accumulate=2)
    train(
        make_model(),
        rows,
        CausalLM(),
        config,
        curriculum=MEASURED,
        on_step=lambda r: reported.update({r.step - 1: r.loss}),
    )
    history, shares = DifficultyHistory(), []
    for step in range(8):
        limit = history.quantile(MEASURED.share(step)) if MEASURED.share(step) < 1 else float("inf")
        left = []
        for losses, scored, kept in parts[step]:
            assert kept.scored.equal(scored & (losses <= limit))
            assert (kept.reasons[scored & ~kept.scored] == Reason.CURRICULUM).all()
            left.append(losses[kept.scored])
        everything = torch.cat([losses[scored] for losses, scored, _ in parts[step]])
        assert reported[step] == pytest.approx(torch.cat(left).mean().item(), rel=1e-5)
        shares.append(len(torch.cat(left)) / len(everything))
        history = history.add(everything, MEASURED.memory)
    assert shares[0] == shares[6] == shares[7] == 1
    assert 0 < shares[1] < 1


def test_another_curriculum_is_another_run(make_model, make_config, make_run, rows):
    config = make_config(steps=2)
    run = make_run(config)
    train(make_model(), rows, CausalLM(), config, run=run, curriculum=MEASURED)
    for other, named in [(None, "curriculum"), (Curriculum(start=0.5, steps=6), "curriculum.schedule")]:
        with pytest.raises(CheckpointError, match=named):
            train(make_model(), rows, CausalLM(), config, run=run, curriculum=other, resume=True)
    with pytest.raises(CheckpointError, match=r"curriculum\.difficulty = rarity where .* has loss"):
        train(make_model(), rows, CausalLM(), config, run=run, curriculum=GIVEN, resume=True)


def test_a_share_of_one_changes_nothing(make_model, make_config, rows):
    config = make_config(steps=3)
    plain, everything = make_model(), make_model()
    train(plain, rows, CausalLM(), config)
    train(everything, rows, CausalLM(), config, curriculum=Curriculum(start=1.0, steps=1))
    assert weights_of(plain).equal(weights_of(everything))
