"""Fine-tuning: planted signals are learnt, runs repeat bit for bit, bad runs stop."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
import torch

from flava.errors import DataError, TrainingError
from flava.evaluate import finetune, finetuned_tasks
from flava.evaluate.examples import Examples, PixelStore
from flava.evaluate.images import ArrayImages
from flava.evaluate.taskdata import LabelledTask, SoftLabels, Split
from tests.evaluate.fakes import FakeBackbone, FakeTokenizer, context, finetune_config

WORDS = [f"word{i}" for i in range(30)]


def sentences(n, seed):
    """Positive where "good" occurs; the words around it tell nothing."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, n)
    texts = [
        (" ".join([*random.choice(WORDS, random.integers(2, 9)), "good" if y else "bad"]), None)
        for y in labels
    ]
    return Split(labels, texts=texts)


def text_task(n=400):
    return LabelledTask(sentences(n, 0), {"dev": sentences(200, 1)}, ["0", "1"])


def image_text_task(n=600):
    """Label = (image is red) XOR (text says 'red'): neither modality alone helps."""
    random = np.random.default_rng(0)
    red, says = random.integers(0, 2, n), random.integers(0, 2, n)
    pixels = random.integers(0, 120, (n, 16, 16, 3), np.uint8)
    pixels[red == 1, :, :, 0] += 120
    images = ArrayImages(pixels)
    texts = [("a red thing" if s else "some other picture", None) for s in says]
    cuts = [np.arange(0, n - 200), np.arange(n - 200, n - 100), np.arange(n - 100, n)]
    parts = [Split((red ^ says)[c], images, c, [texts[i] for i in c]) for c in cuts]
    return LabelledTask(parts[0], {"test": parts[2]}, ["same", "differ"], parts[1])


def test_text_signal_is_learnt_and_repeats_exactly():
    config = finetune_config(updates=80)
    first, again = (
        finetuned_tasks.evaluate(context("glue"), text_task(), config)[0] for _ in range(2)
    )
    assert first == again
    assert first.value > 90
    assert (first.n_examples, first.n_train, first.details["validation examples"]) == (200, 360, 40)
    other = finetuned_tasks.evaluate(context("glue", seed=1), text_task(), config)[0]
    assert other != first


def test_the_pretrained_model_is_left_alone():
    model = FakeBackbone()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    finetuned_tasks.evaluate(context("glue", model=model), text_task(), finetune_config(updates=5))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])


def test_the_caller_s_random_state_is_left_alone():
    fake = context("glue")
    before = torch.get_rng_state()
    finetuned_tasks.evaluate(fake, text_task(100), finetune_config(updates=3))
    assert torch.equal(before, torch.get_rng_state())


def test_image_text_interaction_is_learnt():
    config = finetune_config(updates=300, head_hidden=64, schedule="cosine", dropout=0.0)
    (score,) = finetuned_tasks.evaluate(context("multimodal"), image_text_task(), config)
    assert score.value > 85
    assert score.n_train == 400


def test_regression():
    random = np.random.default_rng(0)
    n = 400
    share = random.integers(0, 6, n)
    texts = [(" ".join(["same"] * s + ["other"] * (5 - s)), "x y") for s in share]
    split = Split(share / 5.0, texts=texts)
    task = LabelledTask(split.take(np.arange(300)), {"dev": split.take(np.arange(300, 400))}, [])
    (score,) = finetuned_tasks.evaluate(
        context("glue", "pearson"), task, finetune_config(updates=120)
    )
    assert score.value > 80
    assert score.chance == 0
    assert score.details["spearman"] > 80


def test_auroc_uses_the_margin():
    task = text_task()
    (score,) = finetuned_tasks.evaluate(context("glue", "auroc"), task, finetune_config())
    assert score.value > 90
    assert score.chance == 50


def test_soft_answers():
    n = 300
    red = np.random.default_rng(0).integers(0, 2, n)
    pixels = np.random.default_rng(1).integers(0, 120, (n, 16, 16, 3), np.uint8)
    pixels[red == 1, :, :, 0] += 120
    soft = SoftLabels(np.stack([red, np.full(n, 2)], 1), np.tile(np.float32([1.0, 0.3]), (n, 1)), 3)
    split = Split(soft, ArrayImages(pixels), np.arange(n), [("what colour", None)] * n)
    task = LabelledTask(
        split.take(np.arange(200)), {"val": split.take(np.arange(200, n))}, ["b", "r", "?"]
    )
    config = finetune_config(updates=100, head_hidden=32, dropout=0.0)
    (score,) = finetuned_tasks.evaluate(context("multimodal", "vqa_score"), task, config)
    assert score.value > 90
    assert 45 < score.chance < 60


def test_several_scored_splits_are_averaged():
    """Two splits of other sizes and shares: chance is their mean, their errors are independent."""
    task, config = text_task(), finetune_config(updates=12)
    mostly_positive = np.argsort(-sentences(60, 6).targets, kind="stable")[:40]
    tests = {"a": sentences(80, 5), "b": sentences(60, 6).take(mostly_positive)}

    def scored(tests):
        each = LabelledTask(task.train, tests, task.classes)
        return finetuned_tasks.evaluate(context("glue"), each, config)[0]

    score, a, b = scored(tests), *(scored({name: split}) for name, split in tests.items())
    assert [score.details[f"{name} accuracy"] for name in tests] == [a.value, b.value]
    assert score.value == pytest.approx((a.value + b.value) / 2, abs=1e-3)
    assert b.chance - a.chance > 5
    assert score.chance == pytest.approx((a.chance + b.chance) / 2, abs=1e-3)
    assert min(a.std_error, b.std_error) > 0
    assert score.std_error == pytest.approx(np.hypot(a.std_error, b.std_error) / 2, abs=1e-3)
    assert score.n_examples == 120


def test_best_validation_checkpoint_is_kept(monkeypatch):
    scores = iter([0.5, 0.9, 0.7])
    monkeypatch.setitem(finetune.METRICS, "accuracy", lambda *_: next(scores, 0.6))
    train, held = (Examples(sentences(64, s), FakeTokenizer(), 32, 16) for s in (0, 1))
    config = finetune_config(updates=30, evaluations=3)
    best = finetune.finetune(context("glue"), train, held, 2, config)
    assert (best.update, best.validation) == (20, 0.9)
    scores = iter([0.5, 0.9])
    monkeypatch.setitem(finetune.METRICS, "accuracy", lambda *_: next(scores, 0.6))
    short = finetune.finetune(
        context("glue"), train, held, 2, finetune_config(updates=30, evaluations=3)
    )
    for key, value in short.model.state_dict().items():
        assert torch.equal(value, best.model.state_dict()[key])


class Segments(FakeBackbone):
    """Sees nothing but the number of tokens of type 1."""

    def text_features(self, text_BL, attention_BL, types_BL=None):
        count_B = torch.zeros(len(text_BL)) if types_BL is None else types_BL.sum(1)
        return self.words.weight[:1] * count_B[:, None]


@pytest.mark.parametrize("types", [True, False])
def test_pairs_are_encoded_as_bert_does(types, bert):
    split = Split(np.array([0, 1, 1]), texts=[("a cat", "the dog sat"), ("a", "b"), ("cat", None)])
    examples = Examples(split, bert, 32, 16, types)
    text_BL, _, types_BL, pixels = examples.batch(np.arange(3))
    assert pixels is None
    cls, sep, pad = bert.cls_id, bert.sep_id, bert.pad_id
    cat, dog = bert.encode("a cat"), bert.encode("the dog sat")
    assert text_BL[0].tolist() == [cls, *cat, sep, *dog, sep]
    assert text_BL[2].tolist()[-1] == pad
    if types:
        first = [0] * (len(cat) + 2) + [1] * (len(dog) + 1)
        assert types_BL[0].tolist() == first and types_BL[2].sum() == 0
        assert types_BL[1].tolist()[:5] == [0, 0, 0, 1, 1] and not types_BL[1, 5:].any()
    else:
        assert types_BL is None
    model = finetune.Classifier(Segments(), False, 2, finetune_config(dropout=0.0)).eval()
    outputs = model(examples.batch(np.arange(3)))
    assert torch.equal(outputs[0], outputs[2]) == (not types)


@pytest.fixture(scope="module")
def bert():
    from flava.config import TokenizerConfig
    from flava.data.tokenizer import build_tokenizer

    texts = ["a cat sat", "the dog sat", "b"] * 5
    return build_tokenizer(TokenizerConfig(kind="wordpiece", vocab_size=60), iter(texts))


def test_schedules():
    polynomial = finetune_config(updates=100, warmup_updates=10)
    rates = [finetune.rate(u, polynomial) for u in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[10] == 1
    assert rates[55] == pytest.approx(0.5)
    cosine = finetune_config(updates=100, warmup_updates=0, schedule="cosine")
    assert finetune.rate(0, cosine) == 1
    assert finetune.rate(50, cosine) == pytest.approx(0.5)
    assert finetune.evaluation_updates(polynomial) == {33, 67, 100}
    assert finetune.evaluation_updates(finetune_config(updates=2, evaluations=9)) == {1, 2}


def test_batches_cover_an_epoch_and_waste_little():
    lengths = np.random.default_rng(0).integers(3, 60, 1000)
    batches = finetune.bucketed_batches(lengths, 32, seed=0)
    epoch = list(itertools.islice(batches, 32))
    assert sorted(np.concatenate(epoch)) == list(range(1000))
    padded = sum(len(b) * lengths[b].max() for b in epoch)
    assert padded < 1.2 * lengths.sum()
    second = list(itertools.islice(batches, 32))
    assert any(a.tolist() != b.tolist() for a, b in zip(epoch, second, strict=True))


def soft_examples(n=31):
    pixels = np.random.default_rng(0).integers(0, 256, (n, 16, 16, 3), np.uint8)
    texts = [(" ".join(WORDS[: 1 + i % 7]), None) for i in range(n)]
    ids = np.random.default_rng(1).integers(-1, 3, (n, 2))
    soft = SoftLabels(ids, np.tile(np.float32([1.0, 0.3]), (n, 1)), 3)
    return Split(soft, ArrayImages(pixels), np.arange(n), texts)


def with_targets(targets):
    return Split(targets, texts=sentences(31, 0).texts)


@pytest.mark.parametrize(
    ("split", "n_outputs"),
    [
        (soft_examples(), 3),
        (with_targets(np.arange(31) % 2), 2),
        (with_targets(np.linspace(0, 1, 31)), 1),
    ],
)
@pytest.mark.parametrize("accumulate", [2, 4, 32])
def test_micro_batches_have_the_gradient_of_the_whole_batch(split, n_outputs, accumulate):
    """31 rows: the micro-batches differ in size, and in what they are padded to."""
    examples = Examples(split, FakeTokenizer(), 32, 16)
    whole = finetune_config(dropout=0.0, head_hidden=8)
    parts = finetune_config(dropout=0.0, head_hidden=8, accumulate=accumulate)
    torch.manual_seed(0)
    model = finetune.Classifier(FakeBackbone(), examples.has_images, n_outputs, whole)
    losses, gradients = [], []
    for config in (whole, parts):
        model.zero_grad()
        ready = finetune.micro_batches(examples, config.accumulate, np.arange(31))
        losses.append(finetune.backward(model, examples.targets, ready, config.precision))
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert losses[1] == pytest.approx(losses[0], rel=1e-6)
    assert len(gradients[0]) == len(gradients[1]) > 4
    for one, several in zip(*gradients, strict=True):
        assert one.abs().max() > 0
        torch.testing.assert_close(several, one, rtol=1e-5, atol=1e-6)


def test_micro_batches_are_all_that_the_model_sees_at_once():
    seen = []
    model = FakeBackbone()
    model.words.register_forward_hook(lambda _module, inputs, _: seen.append(len(inputs[0])))
    config = finetune_config(batch_size=32, accumulate=4, updates=11, dropout=0.0)
    train, held = (Examples(sentences(n, 0), FakeTokenizer(), 32, 16) for n in (322, 5))
    finetune.finetune(context("glue", model=model), train, held, 2, config)
    assert max(seen) == 8
    # An epoch of 322: ten batches in four parts each and a last one of two rows, in two.
    assert sorted(seen)[:2] == [1, 1]
    assert sum(seen) == 322 + 3 * 5  # three validations


def test_a_batch_that_does_not_divide_into_micro_batches_is_refused():
    with pytest.raises(ValueError, match="batch_size 32 is not a multiple of accumulate 3"):
        finetune_config(accumulate=3)
    with pytest.raises(ValueError, match="fp32"):
        finetune_config(precision="fp64")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_precision_holds_in_training_and_prediction_alike(precision):
    seen = []
    model = FakeBackbone()
    model.fuse.register_forward_hook(
        lambda module, _, output: seen.append((module.training, output.dtype))
    )
    config = finetune_config(
        updates=300, head_hidden=64, schedule="cosine", dropout=0.0, accumulate=2,
        precision=precision,
    )  # fmt: skip
    (score,) = finetuned_tasks.evaluate(
        context("multimodal", model=model), image_text_task(), config
    )
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    assert set(seen) == {(True, dtype), (False, dtype)}
    assert score.value > 85
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_a_warm_up_that_never_ends_is_refused():
    with pytest.raises(ValueError, match="warmup_updates 60 are not fewer than updates 60"):
        finetune_config(updates=60, warmup_updates=60)


def test_two_layer_head_is_the_papers():
    head = finetune.make_head(24, 7, finetune_config(head_hidden=1536, dropout=0.5))
    shapes = [tuple(p.shape) for p in head.parameters()]
    assert shapes == [(1536, 24), (1536,), (7, 1536), (7,)]


def test_predictions_keep_the_order_of_the_examples():
    examples = Examples(sentences(300, 0), FakeTokenizer(), 32, 16)
    model = finetune.Classifier(FakeBackbone(), False, 2, finetune_config())
    whole = finetune.predict(model, examples, "accuracy", finetune_config())
    for row in (0, 17, 299):
        single = model(examples.batch(np.array([row]))).argmax().item()
        assert whole[row] == single


def test_micro_batches_divide_the_batches_of_prediction_too(monkeypatch):
    examples = Examples(sentences(600, 0), FakeTokenizer(), 32, 16)
    model, sizes = finetune.Classifier(FakeBackbone(), False, 2, finetune_config()), []
    read = examples.batch
    monkeypatch.setattr(examples, "batch", lambda rows: (sizes.append(len(rows)), read(rows))[1])
    config = finetune_config()
    whole = finetune.predict(model, examples, "accuracy", config)
    assert sizes == [256, 256, 88]
    sizes.clear()
    config = finetune_config(batch_size=32, accumulate=8)
    assert (finetune.predict(model, examples, "accuracy", config) == whole).all()
    assert max(sizes) == 32 and sum(sizes) == 600


def test_predictions_are_read_ahead_and_stay_the_same(monkeypatch):
    examples = Examples(sentences(600, 0), FakeTokenizer(), 32, 16)
    model = finetune.Classifier(FakeBackbone(), False, 2, finetune_config())
    whole, read, threads = (
        finetune.predict(model, examples, "accuracy", finetune_config()),
        examples.batch,
        set(),
    )

    def watched(rows):
        threads.add(threading.current_thread())
        return read(rows)

    monkeypatch.setattr(examples, "batch", watched)
    monkeypatch.setattr(finetune, "reading_threads", lambda _: 2)
    assert (finetune.predict(model, examples, "accuracy", finetune_config()) == whole).all()
    assert threads and threading.main_thread() not in threads


def test_pixels_are_the_same_with_and_without_the_cache(monkeypatch):
    images = ArrayImages(np.random.default_rng(0).integers(0, 256, (6, 16, 16, 3), np.uint8))
    image_of = np.array([5, 5, 2, 0])
    cached = PixelStore(images, image_of, 16)
    assert len(cached.array) == 3
    monkeypatch.setattr("flava.evaluate.examples.CACHE_BYTES", 0)
    decoded = PixelStore(images, image_of, 16)
    assert decoded.array is None
    rows = np.array([3, 0, 1])
    assert torch.equal(cached.batch(rows), decoded.batch(rows))


def test_divergence_stops_with_task_and_update():
    with pytest.raises(TrainingError, match=r"task 'fake': the fine-tuning loss .* at update \d+"):
        finetuned_tasks.evaluate(
            context("glue", "pearson"),
            LabelledTask(
                Split(np.ones(64), texts=[("a b", None)] * 64),
                {"dev": Split(np.ones(8), texts=[("a b", None)] * 8)}, [],
            ),
            finetune_config(learning_rate=1e30, warmup_updates=0, updates=50),
        )  # fmt: skip


def test_too_few_examples():
    with pytest.raises(DataError, match="3 training examples are too few"):
        finetuned_tasks.evaluate(context("glue"), text_task(3), finetune_config())
    task = LabelledTask(sentences(40, 0), {"dev": sentences(40, 0).take(np.arange(0))}, ["0", "1"])
    with pytest.raises(DataError, match="split 'dev' has no examples"):
        finetuned_tasks.evaluate(context("glue"), task, finetune_config())


@pytest.mark.parametrize("threads", [1, 3])
def test_reading_ahead_changes_no_result(monkeypatch, threads):
    split, results = soft_examples(), []
    for ahead in (0, threads):
        monkeypatch.setattr(finetune, "reading_threads", lambda _, ahead=ahead: ahead)
        examples = Examples(split, FakeTokenizer(), 32, 16)
        config = finetune_config(updates=12, batch_size=8, accumulate=2, warmup_updates=2)
        found = finetune.finetune(context("multimodal", "vqa_score"), examples, examples, 3, config)
        results.append(list(found.model.state_dict().values()))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
