"""Stories of programs that are no variant's, and of what is no pair of programs."""

import pytest
import torch
from torch import nn

import pyro_vae as pv
from tests.programs import DATA, Classic, Guide, Model, model_of_functions


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.model, self.guide = Model(), Guide()


@pytest.mark.parametrize("make", [Pair, Classic])
def test_a_pair_in_the_form_of_tutorials_has_a_story(make):
    story = pv.story(make(), torch.randn(5, DATA))
    assert (story.title, story.model_latex) == (make.__name__, r"p(x, z) = p(z)\, p(x \mid z)")
    said = str(story)
    assert "z     ~ N(0, I₂)" in said
    assert "Objective, maximised: pyro.infer.Trace_ELBO\n  L(x) = E_q(z|x)[log p(x | z)] − KL(q(z | x) ‖ p(z))" in said
    assert story.diagram().edges == {"model": [("z", "x")], "guide": [("x", "z")]}
    with pytest.raises(pv.ConfigurationError, match=f"a ledger is made for a variant.* {make.__name__} is none"):
        story.ledger(torch.randn(5, DATA))


def test_what_is_missing_is_named():
    with pytest.raises(pv.ConfigurationError, match=r"Classic has no examples.*arguments.*pv\.story\(classic, x\)"):
        pv.story(Classic())
    for wrong in (model_of_functions, Model(), 3):
        with pytest.raises(pv.ConfigurationError, match=r"a torch\.nn\.Module that has a model and a guide.*got "):
            pv.story(wrong, torch.randn(5, DATA))
