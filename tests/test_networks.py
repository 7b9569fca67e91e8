"""Networks: any batch shape in front, any image size, and the numbers of torch's own layers."""

import pytest
import torch
from torch import nn

from pyro_vae import networks
from pyro_vae.networks.base import AffineOfAll, affine

NETWORKS = {
    "mlp": networks.MLP([8, 6]),
    "mlp_linear": networks.MLP([]),
    "mlp_batch_norm": networks.MLP([8], norm="batch"),
    "mlp_layer_norm": networks.MLP([8], norm="layer", activation="gelu"),
    "conv": networks.Conv([3, 4], hidden=[8]),
    "conv_without_dense_layers": networks.Conv([3, 4], hidden=[]),
    "conv_two_dense_layers": networks.Conv([3], hidden=[8, 6]),
    "conv_batch_norm": networks.Conv([3, 4], norm="batch"),
    "conv_layer_norm": networks.Conv([3, 4], norm="layer"),
}
SIZES = [(7, 9), (8, 8), (28, 28), (32, 32), (1, 5)]


def settled(network):
    """In evaluation mode, with batch norm statistics that are not the neutral ones."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    return network.eval()


def test_affine_of_all_is_one_layer_over_the_concatenation():
    layer = AffineOfAll((2, 3), (4,), (1,), width=5)
    a, b, c = torch.randn(7, 2, 3), torch.randn(7, 4), torch.randn(7, 1)
    plain = nn.Linear(11, 5)
    with torch.no_grad():
        plain.weight.copy_(torch.cat(list(layer.weights), dim=1))
        plain.bias.copy_(layer.bias)
    torch.testing.assert_close(layer(a, b, c), plain(torch.cat([a.flatten(1), b, c], dim=1)))


def test_affine_of_all_starts_as_one_layer_over_the_concatenation_would():
    layer = AffineOfAll((300,), (100,), width=200)
    plain = affine(400, 200)
    for weight in layer.weights:
        assert weight.std().item() == pytest.approx(plain.weight.std().item(), rel=0.05)
    assert torch.equal(layer.bias, plain.bias)


def test_affine_of_all_broadcasts_enumerated_inputs():
    layer = AffineOfAll((6,), (10,), width=5)
    x, y = torch.randn(7, 6), torch.eye(10)[:, None]
    both = layer(x, y)
    assert both.shape == (10, 7, 5)
    torch.testing.assert_close(both[3], layer(x, torch.eye(10)[3].expand(7, 10)))
    assert layer(x, torch.ones(7, 10, dtype=torch.long)).dtype == torch.float32


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NETWORKS)
def test_any_image_size_in_both_directions(name, size):
    image = (2, *size)
    towards, away = NETWORKS[name].build(image, output=(2, 3)), NETWORKS[name].build((3,), output=(1, *image))
    x, z = torch.randn(4, *image), torch.randn(4, 3)
    assert towards(x).shape == (4, 2, 3)
    assert away(z).shape == (4, 1, *image)


@pytest.mark.parametrize("batch", [(), (5,), (2, 3), (2, 1, 4)])
@pytest.mark.parametrize("name", NETWORKS)
def test_any_batch_shape_gives_the_numbers_of_a_flat_batch(name, batch):
    image, n = (1, 7, 9), torch.Size(batch).numel()
    towards = settled(NETWORKS[name].build(image, (4,), output=(2, 3)))
    away = settled(NETWORKS[name].build((3,), (4,), output=(2, *image)))
    x, z, y = torch.randn(n, *image), torch.randn(n, 3), torch.randn(n, 4)
    for network, first, second, event in [(towards, x, y, (2, 3)), (away, z, y, (2, *image))]:
        flat = network(first, second)
        shaped = network(first.reshape(*batch, *first.shape[1:]), second.reshape(*batch, 4))
        assert shaped.shape == (*batch, *event)
        torch.testing.assert_close(shaped.reshape(n, *event), flat, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(flat, network(first, second + 1)), "the second input plays no part"


@pytest.mark.parametrize("name", NETWORKS)
def test_set_output_is_what_a_zero_input_to_the_last_layer_gives(name):
    values = torch.randn(2, 2, 7, 9)
    network = NETWORKS[name].build((3,), output=(2, 2, 7, 9))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
    network.set_output(values)
    torch.testing.assert_close(network(torch.randn(5, 3)), values.expand(5, -1, -1, -1, -1))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_gets_a_gradient(name):
    for network, x in [
        (NETWORKS[name].build((2, 7, 9), output=(2, 3)), torch.randn(16, 2, 7, 9)),
        (NETWORKS[name].build((3,), output=(1, 2, 7, 9)), torch.randn(16, 3)),
    ]:
        (network(x) ** 2).sum().backward()
        assert not [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]


def test_the_convolution_is_local_and_the_dense_network_is_not():
    x = torch.zeros(1, 1, 32, 32)
    x[..., 3, 3] = 1.0
    stages = networks.Conv([4]).build((1, 32, 32), output=(2,)).stages
    changed = (stages(x) != stages(torch.zeros_like(x))).any(1)[0]
    assert changed.any()
    assert not changed[3:].any()
    assert not changed[:, 3:].any()


def test_a_linear_mlp_is_torchs_linear_layer():
    network = networks.MLP([]).build((4,), output=(2, 3))
    x = torch.randn(5, 4)
    expected = nn.functional.linear(x, network.first.weights[0], network.first.bias).unflatten(-1, (2, 3))
    torch.testing.assert_close(network(x), expected)


def test_an_mlp_is_its_layers_in_order():
    network = networks.MLP([8, 6], activation="tanh").build((4,), output=(3,))
    x = torch.randn(5, 4)
    h = torch.tanh(nn.functional.linear(x, network.first.weights[0], network.first.bias))
    h = torch.tanh(network.rest[1](h))
    assert [tuple(p.shape) for p in network.parameters()] == [(8,), (8, 4), (6, 8), (6,), (3, 6), (3,)]
    torch.testing.assert_close(network(x), network.rest[3](h))


@pytest.mark.parametrize("spec", [networks.MLP([200], dropout=0.5), networks.Conv([3], hidden=[200], dropout=0.5)])
def test_dropout_acts_in_training_only(spec):
    network = spec.build((1, 7, 9), output=(2,))
    x = torch.randn(5, 1, 7, 9)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))


@pytest.mark.parametrize("name", ["mlp_batch_norm", "conv_batch_norm"])
def test_batch_norm_counts_every_datum_of_every_batch_dimension(name):
    network = NETWORKS[name].build((1, 7, 9), output=(2,))
    other = NETWORKS[name].build((1, 7, 9), output=(2,))
    other.load_state_dict(network.state_dict())
    x = 3 + 2 * torch.randn(4, 6, 1, 7, 9)
    torch.testing.assert_close(network(x).flatten(0, 1), other(x.flatten(0, 1)), rtol=1e-4, atol=1e-5)
    for (n, a), (_, b) in zip(network.named_buffers(), other.named_buffers(), strict=True):
        torch.testing.assert_close(a, b, msg=n)


def test_the_mirrored_network_has_its_layers_in_reverse():
    assert repr(networks.MLP([64, 32], activation="tanh", dropout=0.1).mirrored()) == (
        "MLP([32, 64], activation='tanh', dropout=0.1)"
    )
    spec = networks.Conv([3, 4])
    assert spec.mirrored() is spec  # its channels are counted from the image inwards, in both directions
