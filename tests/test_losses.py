"""Another loss, and other images than those of the batch: what regularizers change in training."""

from functools import partial

import pytest
import torch
from test_gradients import assert_same, batch_for, ensemble_of
from torch.nn.functional import cross_entropy, one_hot
from toys import assert_same_runs, member, relabelled, toy_cnn, toy_data, toy_mlp

from memhelpers.engine.gradients import MlpGradients, by_autograd, example_losses
from memhelpers.errors import ArgumentError
from memhelpers.seeding import generator
from memhelpers.training import dropout, fit

CASES = {"mlp": (toy_mlp, toy_data()), "batch norm": (toy_cnn, toy_data(n=20, shape=(1, 8, 8)))}
BETA = 0.7


def smoothed(logits, y, batch=None, kept=None):
    """Cross-entropy against labels of which a fifth is spread over all classes."""
    log_p = logits.log_softmax(-1)
    return -0.8 * log_p.gather(-1, y[..., None])[..., 0] - 0.2 * log_p.mean(-1)


def early_learning(logits, y, batch, kept, examples):
    """Cross-entropy and a term that pulls towards a running mean of the answers."""
    p = logits.softmax(-1)
    if "targets" not in kept:
        kept["targets"] = p.new_zeros(len(p), examples, p.shape[-1])
    rows = torch.arange(len(p), device=p.device)[:, None]
    target = BETA * kept["targets"][rows, batch] + (1 - BETA) * p.detach()
    kept["targets"][rows, batch] = target
    return example_losses(logits, y) + 3 * (1 - (target * p).sum(-1)).clamp(min=1e-4).log()


def climbed(networks, x, update):
    """The images one noisy step uphill, for a half of the batch."""
    eta = torch.randn(x.shape[2:], generator=generator(0, f"attack {update}"), dtype=x.dtype)
    with torch.enable_grad():
        x = x.clone().requires_grad_()
        logits = networks(x)
        own = logits.argmax(-1)
        (gradient,) = torch.autograd.grad(example_losses(logits, own).sum(), x)
    half = x.shape[1] // 2
    moved = x.detach() + 0.1 * (gradient.sign() + 0.2 * eta)
    return torch.cat([moved[:, :half], x.detach()[:, half:]], dim=1)


def full(case="mlp", **settings):
    build, data = CASES[case]
    basic = {"epochs": 4, "batch_size": 8, "learning_rate": 0.2, "momentum": 0.5}
    return fit(build(data), settings.pop("data", data), **(basic | settings))


def seams(case):
    examples = len(CASES[case][1].train)
    return [
        {"loss": smoothed},
        {"loss": partial(early_learning, examples=examples)},
        {"attack": climbed, "perturb": dropout(0.3)},
    ]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seam", range(3))
def test_members_give_what_single_runs_give(case, seam):
    chosen, data = seams(case)[seam], CASES[case][1]
    extra = {"until": 0.6, "epochs": 6, "precision": "fp64", "record": ["loss", "correct"]}
    each = [data, relabelled(data, 1), data]
    whole = full(case, data=each, seeds=[4, 4, 9], **extra, **chosen)
    for row, seed in enumerate([4, 4, 9]):
        single = full(case, data=each[row], seeds=[seed], **extra, **chosen)
        assert_same_runs(whole, single, [row], [0], 1e-6)
    if case == "mlp":  # one has stopped before the others, and what was kept of it has gone
        assert len(set(whole.members["epochs"])) > 1


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("seam", range(3))
def test_they_change_the_training(case, seam):
    chosen = seams(case)[seam]
    plain = full(case, seeds=[0], perturb=chosen.get("perturb"))
    assert not plain.epochs["validation_loss"].equals(
        full(case, seeds=[0], **chosen).epochs["validation_loss"]
    )


@pytest.mark.parametrize("case", CASES)
def test_the_cross_entropy_as_a_loss_is_the_run_without_one(case):
    def given(logits, y, batch, kept):
        return example_losses(logits, y)

    plain = full(case, seeds=[0, 1], precision="fp64")
    assert_same_runs(plain, full(case, seeds=[0, 1], precision="fp64", loss=given), [0, 1], [0, 1])


@pytest.mark.parametrize("seam", range(2))
def test_a_loss_trains_as_a_plain_loop_does(seam):
    build, data = CASES["mlp"]
    n, classes = len(data.train), data.n_classes
    start = full(seeds=[3], precision="fp64", epochs=1, learning_rate=0)
    network = build(data).double()
    network.load_state_dict(member(start.ensemble, 0))
    optimizer = torch.optim.SGD(network.parameters(), 0.2, momentum=0.5)
    order, targets = generator(3, "order"), torch.zeros(n, classes, dtype=torch.float64)
    for _ in range(4):
        for batch in torch.randperm(n, generator=order).split(8):
            z, y = network(data.train.x[batch].double()), data.train.y[batch]
            if seam == 0:
                loss = cross_entropy(z, y, label_smoothing=0.2)  # PyTorch's own
            else:
                p = z.softmax(1)
                targets[batch] = BETA * targets[batch] + (1 - BETA) * p.detach()
                loss = cross_entropy(z, y) + 3 * (1 - (targets[batch] * p).sum(1)).log().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = full(seeds=[3], precision="fp64", **seams("mlp")[seam])
    torch.testing.assert_close(member(found.ensemble, 0), network.state_dict())


def test_an_attack_sees_the_networks_the_images_and_the_update():
    data, seen = CASES["mlp"][1], []

    def noted(networks, x, update):
        seen.append((len(networks), tuple(x.shape), update))
        return torch.zeros_like(x)

    found = full(seeds=[0, 1], epochs=2, attack=noted)
    assert seen[:3] == [(2, (2, 8, 1, 3, 3), 0), (2, (2, 8, 1, 3, 3), 1), (2, (2, 6, 1, 3, 3), 2)]
    black = data.replace(train=type(data.train)(torch.zeros_like(data.train.x), data.train.y))
    assert_same_runs(found, full(data=black, seeds=[0, 1], epochs=2), [0, 1], [0, 1])


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_the_written_out_gradients_of_a_loss_are_those_of_autograd(precision):
    ensemble, (x, y) = ensemble_of(3, [8, 7], torch.float64), batch_for(3, 6)
    found = MlpGradients(ensemble.network, precision)(ensemble, x.double(), y, {}, smoothed)
    assert_same(found, by_autograd(precision)(ensemble, x.double(), y, {}, smoothed))


def test_label_smoothing_is_the_cross_entropy_with_smoothed_labels():
    z, y = torch.randn(2, 5, 3), torch.randint(3, (2, 5))
    soft = 0.8 * one_hot(y, 3) + 0.2 / 3
    torch.testing.assert_close(smoothed(z, y), -(soft * z.log_softmax(-1)).sum(-1))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"loss": "hinge"}, "loss: given 'hinge'; allowed: a function"),
        ({"attack": 0.3}, "attack: given 0.3; allowed: a function"),
        ({"loss": lambda z, y, batch, kept: z.sum()}, r"loss: given .*\[2, 8\]"),
        ({"attack": lambda networks, x, update: x[:, :1]}, r"attack: given .*\[2, 8, 1, 3, 3\]"),
    ],
)
@pytest.mark.parametrize("case", ["mlp"])
def test_what_is_no_loss_and_no_attack_is_refused(case, wrong, said):
    with pytest.raises(ArgumentError, match=said):
        full(case, seeds=[0, 1], **wrong)
