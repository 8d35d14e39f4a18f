from __future__ import annotations

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from compression.language.induction import seed_induction

VOCAB = 500


def fresh(hidden: int, heads: int, layers: int) -> GPTNeoXForCausalLM:
    """A decoder in the layout of `pretraining.new_model` with a table of its start's size."""
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=VOCAB,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_hidden_layers=layers,
        intermediate_size=4 * hidden,
        rotary_pct=0.5,
        max_position_embeddings=256,
        tie_word_embeddings=True,
    )
    model = GPTNeoXForCausalLM(config).eval()
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(0, 0.035)
    return model


@torch.no_grad()
def copying(model: GPTNeoXForCausalLM, period: int) -> float:
    """The share of the second copy of random strings that the model predicts, from its third token on."""
    block = torch.randint(18, VOCAB, (8, period), generator=torch.Generator().manual_seed(1))
    ids = block.repeat(1, 2)
    guess = model(input_ids=ids).logits.argmax(-1)[:, period + 1 : -1]
    return float((guess == ids[:, period + 2 :]).float().mean())


@pytest.mark.parametrize("period", [10, 40, 100])
@pytest.mark.parametrize(("hidden", "heads", "layers"), [(128, 4, 2), (192, 3, 3)])
def test_a_fresh_model_copies(hidden: int, heads: int, layers: int, period: int) -> None:
    model = fresh(hidden, heads, layers)
    assert copying(model, period) < 0.05
    seed_induction(model)
    assert copying(model, period) > 0.8


def test_the_codes_follow_the_seed_and_nothing_else() -> None:
    first, same, other = (fresh(64, 2, 2) for _ in range(3))
    for model, seed in ((first, 0), (same, 0), (other, 1)):
        seed_induction(model, seed)
    name = "gpt_neox.layers.0.attention.query_key_value.weight"
    a, b, c = (model.state_dict()[name] for model in (first, same, other))
    assert torch.equal(a, b) and not torch.equal(a, c)


def test_nothing_else_writes_to_the_residual_stream() -> None:
    model = fresh(64, 2, 3)
    seed_induction(model)
    for number, layer in enumerate(model.gpt_neox.layers):
        assert not layer.mlp.dense_4h_to_h.weight.any()
        assert bool(layer.attention.dense.weight.any()) == (number < 2)
