"""Pre-norm RoBERTa as FLAVA's text encoder; post-norm models are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from published_cases import SMALL, equal, load, save, spread, text_states

from flava.errors import CheckpointError

transformers = pytest.importorskip("transformers")

SIZES = {
    "hidden_size": 48,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "vocab_size": 90,
    "max_position_embeddings": 20,
    "layer_norm_eps": SMALL.layer_norm_eps,
}
LAYOUT = "roberta_prelayernorm"


def prenorm(**more):
    config = transformers.RobertaPreLayerNormConfig(**SIZES | more)
    return spread(transformers.RobertaPreLayerNormForMaskedLM(config))


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Two texts of 11 and 7 tokens; RoBERTa's padding is token 1."""
    text = torch.randint(4, 90, (2, 11), generator=torch.Generator().manual_seed(1))
    attention = torch.arange(11) < torch.tensor([[11], [7]])
    return text.masked_fill(~attention, 1), attention


@pytest.mark.parametrize("types", [1, 2, 3])
@pytest.mark.parametrize("padding", [1, 0])
def test_hidden_states(types: int, padding: int, tmp_path: Path):
    model = prenorm(type_vocab_size=types, pad_token_id=padding)
    model.save_pretrained(tmp_path)
    published = load(tmp_path, LAYOUT, "text")
    text, attention = batch()
    text = text.masked_fill(~attention, padding)
    with torch.no_grad():
        out = model.roberta_prelayernorm(text, attention_mask=attention.long()).last_hidden_state
    equal(text_states(published, text, attention)[attention], out[attention])
    report = published.report
    offset = f"first {padding + 1} positions left out: they belong to padding"
    assert offset in report["converted"]
    assert f"positions from {19 - padding} tokens cut to 12" in report["converted"]
    both = "its one token type taken for both texts of a pair"
    assert (both in report["converted"]) == (types == 1)
    first_D, second_D = published.state["token_type_embeddings.weight"]
    assert torch.equal(first_D, second_D) == (types == 1)
    assert report["not_in_file"] == {}
    assert any("compared by size only" in sentence for sentence in report["differences"])


def test_position_table_too_short(tmp_path: Path):
    prenorm(max_position_embeddings=10).save_pretrained(tmp_path)
    with pytest.raises(
        CheckpointError, match="end at 8 tokens, but this run's texts have up to 12"
    ):
        load(tmp_path, LAYOUT, "text")


def test_another_vocabulary(tmp_path: Path):
    prenorm(vocab_size=91).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="vocabulary has 91 tokens"):
        load(tmp_path, LAYOUT, "text")


@pytest.mark.parametrize("kind", ["Roberta", "Bert"])
def test_post_norm_is_refused(kind: str, tmp_path: Path):
    config = getattr(transformers, f"{kind}Config")(**SIZES)
    getattr(transformers, f"{kind}Model")(config).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="post-norm"):
        load(tmp_path, LAYOUT, "text")


def test_fairseq_names_are_refused(tmp_path: Path):
    name = "decoder.sentence_encoder.layers.0.self_attn_layer_norm.weight"
    with pytest.raises(CheckpointError, match="post-norm"):
        load(save({name: torch.ones(48)}, tmp_path / "model.pt"), LAYOUT, "text")
