"""Critical samples: images that are near a decision boundary of the network.

Arpit et al. 2017, Sec. 4.1. An image x is *critical* at the radius r if the box around it holds an
image of another predicted class,

    exists x' with max_i abs(x'_i - x_i) <= r and argmax f(x') != argmax f(x).

The *critical sample ratio* is the share of such images; a high one says that the network has drawn
its boundaries close around the data. `search` is the paper's LASS (Langevin adversarial sample
search). It starts at x and repeats, for a fixed number of steps,

    x' <- clip(x' + alpha sign(grad_x' L(x', k)) + beta eta,  x - r, x + r),   eta ~ N(0, 1),

where L is the cross-entropy and k the class that the network itself predicts for x. What it calls
critical is, while it may miss some: a ratio is a lower bound.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from memhelpers import errors
from memhelpers.engine.ensemble import Ensemble
from memhelpers.engine.probes import Function, Snapshot
from memhelpers.errors import ArgumentError, as_list
from memhelpers.seeding import generator

# As shares of the radius: on pixels from 0 to 255 the paper has r = .3, alpha = .25, beta = .2.
STEP, NOISE = 0.25 / 0.3, 0.2 / 0.3
PORTION = 8  # a portion is so many times smaller than one that is evaluated without gradients


def search(
    networks: Ensemble,
    images: Tensor,
    radii: Sequence[float],
    *,
    steps: int = 10,
    step: float = STEP,
    noise: float = NOISE,
    restarts: int = 1,
    seed: int = 0,
) -> Tensor:
    """Which images are found to be critical, for each network and radius.

    Args:
        networks: m networks, such as `fit(...).ensemble`; seen in evaluation mode.
        images: [n, C, H, W] for all networks, or [m, n, C, H, W] with each network's own.
        radii: half widths of the box, in the unit of the pixels: r = 8 on the scale of 0 to 255 is
            8 / 255 on that of 0 to 1. The box may reach beyond the range of the pixels.
        steps: iterations for each image; each is one forward and one backward pass.
        step: alpha / r. It is a share of the radius, since steps of one length would be too long
            for a small box and too short for a large one. With the paper's, two fill the box.
        noise: beta / r; with 0 the search is projected gradient ascent.
        restarts: searches for each image. The first is the paper's. Each further one climbs towards
            one other class, the likeliest first, while its noise falls to zero, so that it ends in
            a corner of the box: for a linear classifier, one for each other class finds all.
        seed: of the noise. All images, networks and radii meet the same draws, so that what is
            found for one does not depend on the others.

    Returns:
        bool [m, radius, n].

    Raises:
        ArgumentError: an argument is outside what is allowed.

    Source:
        Arpit et al. 2017, Sec. 4.1, algorithm 1; gradient at the current point, as in the authors'
        code. Further restarts: a target for each, as in Gowal et al. 2019 (arXiv 1910.09338).
    """
    errors.check_instance("networks", networks, Ensemble, ", such as `fit(...).ensemble`")
    settings = {"steps": steps, "step": step, "noise": noise, "restarts": restarts, "seed": seed}
    for name in ("steps", "restarts"):
        errors.check_positive_int(name, settings[name])
    errors.check_positive("step", step)
    errors.check_positive("noise", noise or 1)
    errors.check_seed("seed", seed)
    radii = _checked(images, radii)
    if images.dim() == 5 and len(images) != len(networks):
        raise ArgumentError("images", tuple(images.shape), f"those of {len(networks)} networks")
    weights = {name: weight.detach() for name, weight in networks.parameters.items()}
    networks, first = replace(networks, parameters=weights), next(iter(weights.values()))
    images = images.to(first.device, first.dtype)
    images = images if images.dim() == 5 else images[None]
    radii = torch.tensor(radii).to(first).view(-1, 1, 1, 1, 1)
    at_once = networks.images_per_pass(images.shape[2:]) // (PORTION * len(radii))
    portions = images.expand(len(networks), *images.shape[1:]).split(max(1, at_once), dim=1)
    return torch.cat([_search(networks, x, radii, **settings) for x in portions], dim=-1)


def ratio(networks: Ensemble, images: Tensor, radii: Sequence[float], **settings) -> Tensor:
    """The critical sample ratio, [m, radius]: critical images over all.

    Arguments and errors as in `search`; not a number for a network that has diverged.
    """
    found = search(networks, images, radii, **settings).double().mean(-1)
    diverged = ~networks.flat_parameters().isfinite().all(1)
    return found.masked_fill_(diverged[:, None], torch.nan)


def probe(images: Tensor, radii: Sequence[float], **settings) -> Function:
    """Probe function: the critical sample ratio of networks while they train, [m, radius].

    Used as `fit(..., probes={"critical": Probe(critical.probe(x, radii), epochs=[0, 1, 5])})`.
    Arguments and errors as in `search`, where m counts all networks that `fit` trains.
    """
    _checked(images, radii)

    def critical_ratio(snapshot: Snapshot) -> Tensor:
        own = images[snapshot.members.to(images.device)] if images.dim() == 5 else images
        return ratio(snapshot.ensemble, own, radii, **settings)

    return critical_ratio


@torch.no_grad()
def _search(
    networks: Ensemble,
    x: Tensor,
    radii: Tensor,
    steps: int,
    step: float,
    noise: float,
    restarts: int,
    seed: int,
) -> Tensor:
    """What is found for x [m, n, C, H, W], bool [m, radius, n]."""
    clean = networks(x)[:, None]  # [m, 1, n, classes]
    own = clean.argmax(-1, keepdim=True)
    found = torch.zeros(len(x), len(radii), x.shape[1], dtype=torch.bool, device=x.device)
    for restart in range(restarts):
        draws, others = generator(seed, f"critical samples {restart}"), _others(clean, own, restart)
        u = x.new_zeros(*found.shape, *x.shape[2:])  # (x' - x) / r, in a box from -1 to 1
        for number in range(steps):
            cooled = 1 - number / max(1, steps - 1) if restart else 1.0
            logits, sign = _climb(networks, x[:, None] + radii * u, own, others)
            found |= logits.argmax(-1) != own[..., 0]
            # One draw for all, so that nothing depends on who is in the batch.
            eta = torch.randn(x.shape[2:], generator=draws).to(u)
            u = u.add_(sign, alpha=step).add_(eta, alpha=noise * cooled).clamp_(-1, 1)
        found |= _logits(networks, x[:, None] + radii * u).argmax(-1) != own[..., 0]
    return found


def _others(clean: Tensor, own: Tensor, restart: int) -> Tensor:
    """Which classes a search climbs towards, bool [m, 1, n, classes]."""
    others = torch.ones_like(clean, dtype=torch.bool).scatter_(-1, own, False)
    if not restart:
        return others  # all of them, as the cross-entropy does
    order = clean.masked_fill(~others, torch.inf).argsort(dim=-1, descending=True)
    target = 1 + (restart - 1) % (clean.shape[-1] - 1)
    return torch.zeros_like(others).scatter_(-1, order[..., target, None], True)


def _climb(networks: Ensemble, x: Tensor, own: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Logits [m, radius, n, classes], and the sign of the gradient by x.

    The cross-entropy is log(1 + exp(h)) with h = log sum of exp(other logits) - own logit. So its
    gradient has the sign of that of h, which does not vanish where the network is sure.
    """
    with torch.enable_grad():
        logits = _logits(networks, x.requires_grad_())
        own = own.expand(*logits.shape[:-1], 1)
        h = logits.masked_fill(~others, -torch.inf).logsumexp(-1) - logits.gather(-1, own)[..., 0]
        (gradient,) = torch.autograd.grad(h.sum(), (x,))
    return logits.detach(), gradient.sign_()


def _logits(networks: Ensemble, x: Tensor) -> Tensor:
    return networks(x.flatten(1, 2)).unflatten(1, x.shape[1:3])


def _checked(images: Tensor, radii: Sequence[float]) -> list[float]:
    """The radii as a list, when images and radii are as `search` allows."""
    errors.check_instance("images", images, Tensor, " [n, C, H, W], such as `data.validation.x`")
    if images.dim() not in (4, 5) or not images.numel() or not images.is_floating_point():
        allowed = "at least one image: [n, C, H, W], or [m, n, C, H, W] of m networks"
        raise ArgumentError("images", images, allowed)
    span = float(images.max() - images.min())
    listed = [errors.check_positive("radii", radius) for radius in as_list(radii) or ()]
    if not listed or max(listed) > span > 0:
        allowed = f"several half widths in the unit of the pixels, at most their range ({span:.3g})"
        raise ArgumentError("radii", radii, allowed)
    return listed
