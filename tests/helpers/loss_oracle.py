"""The reference of the losses: the plain formula on full logits in float64, one position at a time."""

import torch

REDUCTIONS = ["token_mean", "sequence_mean", "sum", "none"]
NAN = float("nan")


def formula(logits, targets, weights, reduction, label_smoothing=0.0, z_loss=0.0):
    """Compute the loss of float64 logits (..., V), differentiably, so that autograd gives reference gradients too."""
    vocabulary = logits.shape[-1]
    flat, t = logits.reshape(-1, vocabulary), targets.reshape(-1).tolist()
    w = [1.0] * len(t) if weights is None else weights.reshape(-1).tolist()
    scored = [target != -100 and weight > 0 for target, weight in zip(t, w, strict=True)]
    losses = []
    for i, (target, weight) in enumerate(zip(t, w, strict=True)):
        if not scored[i]:
            losses.append(flat[i].sum() * 0)
            continue
        log_p = torch.log_softmax(flat[i], -1)
        loss = -(1 - label_smoothing) * log_p[target] - label_smoothing * log_p.mean()
        losses.append(weight * (loss + z_loss * torch.logsumexp(flat[i], -1) ** 2))
    per_position = torch.stack(losses) if losses else flat.sum() * torch.zeros(0, dtype=torch.float64)
    if reduction == "none":
        return per_position.view(targets.shape)
    counted = torch.tensor([float(weight * use) for weight, use in zip(w, scored, strict=True)], dtype=torch.float64)
    if reduction == "sum":
        return per_position.sum()
    if reduction == "token_mean":
        return per_position.sum() / (counted.sum() if counted.any() else 1)
    length = targets.shape[-1]
    rows = range(len(t) // length if length else 0)
    sums = [
        (per_position[r * length : (r + 1) * length].sum(), counted[r * length : (r + 1) * length].sum()) for r in rows
    ]
    means = [total / weight for total, weight in sums if weight > 0]
    return torch.stack(means).mean() if means else per_position.sum()
