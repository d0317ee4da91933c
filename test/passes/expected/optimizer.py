"""Writes optimizer.json: AdamW, clipping and schedules as PyTorch does them, in float64.

    pip install torch==2.13.0
    python test/passes/expected/optimizer.py

The schedules' factors are those of transformers' get_{constant,linear,cosine}_schedule_with_warmup, run through
torch.optim.lr_scheduler.LambdaLR as there.
"""
import json, math, os
import torch

STEPS, LR, WARMUP = 10, 0.05, 0.25


def factor(name, step, warmup, steps):
    if step < warmup:
        return step / max(1, warmup)
    if name == "constant":
        return 1.0
    if name == "linear":
        return max(0.0, (steps - step) / max(1, steps - warmup))
    progress = (step - warmup) / max(1, steps - warmup)
    return max(0.0, 0.5 * (1.0 + math.cos(math.pi * 0.5 * 2.0 * progress)))


def run(schedule, clip, decay):
    a = torch.tensor([[0.5, -1.0, 2.0], [0.1, 0.0, -0.3]], dtype=torch.float64, requires_grad=True)
    layers = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([1.0, -2.0], [0.25, 4.0])]
    free = torch.tensor([3.0, -0.5], dtype=torch.float64, requires_grad=True)
    groups = [{"params": [a, *layers], "weight_decay": decay}, {"params": [free], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.999), eps=1e-8, foreach=False)
    warmup = math.ceil(WARMUP * STEPS)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(schedule, step, warmup, STEPS))
    trace = []
    for step in range(STEPS):
        parameters = [a, *layers, free]
        for n, p in enumerate(parameters):
            index = torch.arange(p.numel(), dtype=torch.float64).reshape(p.shape)
            p.grad = torch.sin(1.0 + index + 2.0 * n + 0.7 * step) * (step % 3 + 0.2)
        norm = torch.nn.utils.clip_grad_norm_(parameters, clip if clip > 0 else float("inf"))
        lr = optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
        trace.append({"lr": lr, "norm": norm.item(), "a": a.flatten().tolist(), "layers": [l.tolist() for l in layers], "free": free.tolist()})
    return {"schedule": schedule, "clip": clip, "decay": decay, "steps": STEPS, "lr": LR, "warmup": WARMUP, "trace": trace}


cases = [run("constant", 0.0, 0.0), run("linear", 1.0, 0.01), run("cosine", 0.5, 0.1)]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "optimizer.json"), "w") as out:
    json.dump({"torch": torch.__version__.split("+")[0], "cases": cases}, out, indent=1)
    out.write("\n")
