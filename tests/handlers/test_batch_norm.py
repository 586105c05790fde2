from __future__ import annotations

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines import SupervisedEvaluator
from monai.inferers import SimpleInferer
from torch import nn

from pipeline.handlers import BatchNormStatistics
from pipeline.networks import MobileNetV2

BATCHES = [torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(i)) * (i + 1) + i for i in range(6)]


def _network(*layers: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 3, 1), *layers)


def _validator(network: nn.Module) -> SupervisedEvaluator:
    data = [{"image": torch.zeros(1, 2, 6, 6)}]
    return SupervisedEvaluator(device=torch.device("cpu"), val_data_loader=data, network=network)


def _train(network: nn.Module, epochs: int = 1, **arguments: int) -> list[torch.Tensor]:
    """Run a trainer that trains nothing, validate after each epoch; the validator's outputs."""
    validator, outputs = _validator(network), []
    validator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output[0]))
    trainer = Engine(lambda *_: {})
    handler = BatchNormStatistics(network=network, validator=validator, inferer=SimpleInferer(), **arguments)
    handler.attach(trainer)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda _: validator.run())
    trainer.run([{"image": batch} for batch in BATCHES], max_epochs=epochs)
    return outputs


@pytest.mark.parametrize("batches", [1, 3, 6])
def test_the_statistics_are_the_mean_of_those_of_the_last_batches(batches: int) -> None:
    norm = nn.BatchNorm2d(3)
    norm.running_mean.fill_(1e6)  # of some other network
    network = _network(norm)
    _train(network, epochs=2, batches=batches)
    with torch.no_grad():
        activations = [network[0](batch) for batch in BATCHES[-batches:]]
    torch.testing.assert_close(norm.running_mean, torch.stack([a.mean(dim=(0, 2, 3)) for a in activations]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack([a.var(dim=(0, 2, 3)) for a in activations]).mean(0))


def test_only_batch_norm_learns_and_all_is_as_before_afterwards() -> None:
    norm, dropout = nn.BatchNorm2d(3, momentum=0.3), nn.Dropout(0.9)
    network = _network(dropout, norm)
    weights = {name: value.clone() for name, value in network.named_parameters()}
    _train(network)
    assert norm.momentum == 0.3
    assert all(torch.equal(weights[name], value) for name, value in network.named_parameters())
    with torch.no_grad():  # dropout would have left a tenth of the activations, ten times as large
        variances = [network[0](batch).var(dim=(0, 2, 3)) for batch in BATCHES]
    torch.testing.assert_close(norm.running_var, torch.stack(variances).mean(0))
    assert network.training == dropout.training == norm.training


def test_the_validation_sees_the_new_statistics() -> None:
    norm = nn.BatchNorm2d(3, affine=False)
    network = _network(norm)
    norm.running_mean.fill_(1e6)
    (output,) = _train(network)
    assert output["pred"].abs().max() < 100


def test_a_frozen_backbone_keeps_its_statistics() -> None:
    network = MobileNetV2(in_channels=2, out_channels=2, width=0.25)
    network.freeze_backbone()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    _train(network)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_a_network_without_batch_norm_is_left_alone() -> None:
    network = _network(nn.InstanceNorm2d(3, affine=True, track_running_stats=True))
    before = network[1].running_mean.clone()
    _train(network)
    assert torch.equal(network[1].running_mean, before)
