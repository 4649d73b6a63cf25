"""Layout of lone text encoders: Hugging Face's pre-norm RoBERTa."""

from __future__ import annotations

from flava.config import FlavaConfig
from flava.models.hf_names import Entry, linear, qkv
from flava.models.published.adapt import adapt_text_positions, adapt_token_types
from flava.models.published.conversion import Conversion
from flava.models.published.structure import check_encoder_config

PREFIX = "roberta_prelayernorm."
# Hugging Face's and fairseq's names of a norm after the attention's residual sum.
POST_NORM = r"(.*\.)?(attention\.output\.LayerNorm|self_attn_layer_norm)\."


def prepare_roberta(c: Conversion, config: FlavaConfig) -> list[Entry]:
    """`RobertaPreLayerNormModel`: BERT's embeddings under the pre-norm blocks that FLAVA has.

    Raises:
        CheckpointError: the blocks are post-norm, as in BERT and RoBERTa themselves.
    """
    if c.names(POST_NORM):
        c.refuse(
            "its blocks norm after each residual sum (post-norm, as BERT and RoBERTa), FLAVA's "
            "before each sublayer; no change of weights makes one the other. Take a pre-norm "
            "model such as Hugging Face's RobertaPreLayerNorm, or train the column's own `recipe`."
        )
    c.unprefix(PREFIX)
    c.drop(r"lm_head\.", "language-model head: FLAVA's is trained in joint pretraining")
    c.drop(r"pooler\.", "pooler: no loss reads it")
    c.drop(r"embeddings\.(position_ids|token_type_ids)$", "constant buffer of old releases")
    values = check_encoder_config(c, config, "roberta-prelayernorm")
    if values.get("position_embedding_type", "absolute") != "absolute":
        c.refuse("its positions are relative; FLAVA's text encoder has absolute ones only.")
    # RoBERTa counts positions from the padding token's id plus one.
    first = values.get("pad_token_id", 1) + 1
    adapt_text_positions(c, "embeddings.position_embeddings.weight", config.max_text_length, first)
    adapt_token_types(c, "embeddings.token_type_embeddings.weight")
    _check_vocabulary(c, config)
    return _entries(config)


def _check_vocabulary(c: Conversion, config: FlavaConfig) -> None:
    words = c.tensors.get("embeddings.word_embeddings.weight")
    if words is not None and words.shape[0] != config.vocab_size:
        c.refuse(
            f"its vocabulary has {words.shape[0]} tokens, but this run's tokenizer has "
            f"{config.vocab_size}. Use the tokenizer of the weights, with its `vocab_size`."
        )
    c.differs("token ids are taken to mean the same: vocabularies are compared by size only")


def _entries(config: FlavaConfig) -> list[Entry]:
    words = "embeddings"
    entries = [
        Entry("token_embeddings.weight", (f"{words}.word_embeddings.weight",)),
        Entry("position_embeddings.weight", (f"{words}.position_embeddings.weight",)),
        Entry("token_type_embeddings.weight", (f"{words}.token_type_embeddings.weight",)),
        *linear("embedding_norm", f"{words}.LayerNorm"),
        *linear("norm", "LayerNorm"),
    ]
    for i in range(config.text_layers):
        ours, theirs = f"transformer.blocks.{i}", f"encoder.layer.{i}"
        entries += linear(f"{ours}.norm1", f"{theirs}.attention.LayerNorm")
        entries += qkv(f"{ours}.qkv", f"{theirs}.attention.self", ("query", "key", "value"))
        entries += linear(f"{ours}.out", f"{theirs}.attention.output.dense")
        entries += linear(f"{ours}.norm2", f"{theirs}.intermediate.LayerNorm")
        entries += linear(f"{ours}.fc1", f"{theirs}.intermediate.dense")
        entries += linear(f"{ours}.fc2", f"{theirs}.output.dense")
    return entries
