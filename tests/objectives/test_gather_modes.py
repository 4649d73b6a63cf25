"""The five gather modes on four real ranks, and virtual ranks that equal them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gather_case
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from flava.config import ContrastiveConfig
from flava.errors import ConfigError
from flava.objectives import EmbeddingGradients, contrastive_loss, positive_rows

Steps = dict[str, Tensor]


def run_ranks(folder: Path, world: int, ranks: int) -> Steps:
    """Runs `gather_case` on `world` gloo processes."""
    script = Path(gather_case.__file__)
    output, store = folder / "out.safetensors", folder / "store"
    root = script.parents[2]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    processes = [
        subprocess.Popen(
            [sys.executable, str(script), str(rank), str(world), str(ranks), store, output],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert all(process.returncode == 0 for process in processes), errors
    return load_file(output)


@pytest.fixture(scope="module")
def four_ranks(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    return run_ranks(tmp_path_factory.mktemp("four"), world=4, ranks=4)


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Steps:
    """Four ranks, two a process."""
    return run_ranks(tmp_path_factory.mktemp("two"), world=2, ranks=4)


@pytest.fixture(scope="module")
def exact() -> Tensor:
    """The gradient of the whole batch in one process."""
    return gather_case.step("global", 1, None, rank=0, world=1)


def compare(step: Tensor, exact: Tensor) -> tuple[float, float]:
    """Norm ratio and cosine of the towers' gradients."""
    ours, full = step[2:].double(), exact[2:].double()
    return float(ours.norm() / full.norm()), float(torch.cosine_similarity(ours, full, dim=0))


def test_the_loss_is_the_same_in_all_modes(four_ranks: Steps, exact: Tensor):
    for mode in gather_case.MODES:
        assert four_ranks[f"{mode}/positive"][0].item() == pytest.approx(exact[0].item(), abs=1e-6)


@pytest.mark.parametrize("mode", ["global", "global_full"])
def test_global_modes_give_the_exact_gradient(mode: str, four_ranks: Steps, exact: Tensor):
    ratio, cosine = compare(four_ranks[f"{mode}/positive"], exact)
    assert ratio == pytest.approx(1.0, abs=1e-5)
    assert cosine == pytest.approx(1.0, abs=1e-6)
    torch.testing.assert_close(four_ranks[f"{mode}/positive"], exact, rtol=1e-4, atol=1e-6)


def test_open_clip_of_2021_gives_a_quarter_of_the_exact_gradient(four_ranks: Steps, exact: Tensor):
    step = four_ranks["openclip_2021/positive"]
    ratio, cosine = compare(step, exact)
    assert ratio == pytest.approx(0.25, abs=1e-5)
    assert cosine == pytest.approx(1.0, abs=1e-6)
    # The temperature is on every rank and keeps its whole gradient.
    assert step[1].item() == pytest.approx(exact[1].item(), rel=1e-4)


@pytest.mark.parametrize("mode", gather_case.MODES)
def test_norm_and_cosine_are_those_of_the_docs(mode: str, four_ranks: Steps, exact: Tensor):
    docs = Path(__file__).parents[2] / "docs/objectives.md"
    (row,) = [line for line in docs.read_text().splitlines() if line.startswith(f"| `{mode}` |")]
    printed = tuple(float(cell) for cell in row.split("|")[4:6])
    assert compare(four_ranks[f"{mode}/positive"], exact) == pytest.approx(printed, abs=2e-3)


@pytest.mark.parametrize("name", gather_case.LABELS)
@pytest.mark.parametrize("mode", ["local", "none"])
def test_local_and_none_are_torchmultimodals(mode: str, name: str, four_ranks: Steps):
    """Each of four ranks takes its rows against all columns; gradients reach no other rank's
    columns, and with "local" the rank's own (torchmultimodal, `BackpropType`)."""
    towers = gather_case.Towers()
    images, texts = towers(*gather_case.global_batch())
    counted = torch.tensor(gather_case.LABELS[name] or [1] * gather_case.ROWS).bool()
    losses = []
    for own in torch.arange(gather_case.ROWS).split(gather_case.SHARE):
        for rows, columns in ((images, texts), (texts, images)):
            seen = columns.detach()
            if mode == "local":
                seen = seen.index_copy(0, own, columns[own])
            logits = towers.logit_scale.exp() * rows[own] @ seen.T
            each = torch.nn.functional.cross_entropy(logits, own, reduction="none")
            losses.append(each[counted[own]])
    by_hand = gather_case.average(torch.cat(losses).mean(), towers, world=1)
    torch.testing.assert_close(four_ranks[f"{mode}/{name}"], by_hand, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["global", "none"])
def test_global_and_none_equal_hugging_face_on_real_ranks(mode: str, two_processes: Steps):
    torch.testing.assert_close(
        two_processes[f"two/{mode}"], two_processes[f"hf/{mode}"], rtol=0, atol=1e-6
    )


def test_four_virtual_ranks_in_one_process_equal_four_real_ones(four_ranks: Steps):
    for name, step in gather_case.all_steps(ranks=4, rank=0, world=1).items():
        torch.testing.assert_close(step, four_ranks[name], rtol=0, atol=1e-6, msg=name)


def test_two_processes_of_two_virtual_ranks_equal_four_real_ones(
    four_ranks: Steps, two_processes: Steps
):
    for name, step in four_ranks.items():
        torch.testing.assert_close(two_processes[name], step, rtol=0, atol=1e-6, msg=name)


@pytest.mark.parametrize("mode", [mode for mode in gather_case.MODES if mode != "global"])
def test_on_one_rank_all_modes_are_equal(mode: str, exact: Tensor):
    step = gather_case.step(mode, 1, None, rank=0, world=1)
    torch.testing.assert_close(step, exact, rtol=0, atol=1e-6)


def test_rows_without_match_stay_as_negatives():
    """Dropping a mismatched row altogether gives another loss: its columns count."""
    towers = gather_case.Towers()
    images, texts = (batch[:8] for batch in gather_case.global_batch())
    image, text = towers(images, texts)
    rows = torch.tensor([1, 1, 0, 1, 1, 1, 1, 0]).bool()
    config = ContrastiveConfig(gather="global", ranks=1)
    kept = contrastive_loss(image, text, towers.logit_scale, rows, config)
    dropped = contrastive_loss(image[rows], text[rows], towers.logit_scale, None, config)
    logits = towers.logit_scale.exp() * image @ text.T
    by_hand = (
        torch.nn.functional.cross_entropy(logits[rows], torch.arange(8)[rows])
        + torch.nn.functional.cross_entropy(logits.T[rows], torch.arange(8)[rows])
    ) / 2
    assert kept.item() == pytest.approx(by_hand.item(), abs=1e-6)
    assert kept.item() > dropped.item()


def test_without_any_match_all_rows_count():
    labels = torch.tensor([0, 0, 1])
    assert positive_rows(labels, 3, labels.device).tolist() == [False, False, True]
    assert positive_rows(labels[:2], 2, labels.device).all()
    assert positive_rows(None, 2, labels.device).all()


@pytest.mark.parametrize("ranks", [1, 4])
def test_the_loss_is_the_mean_over_the_rows_that_count(ranks: int, exact: Tensor):
    """However many of them each rank holds; where there is none it is 0 and moves nothing."""
    towers = gather_case.Towers()
    image, text = towers(*gather_case.global_batch())
    config = ContrastiveConfig(gather="global", ranks=ranks)
    counted = torch.tensor(gather_case.SOME_NEGATIVE).bool()
    loss = contrastive_loss(image, text, towers.logit_scale, counted, config)
    logits = towers.logit_scale.exp() * image @ text.T
    targets = torch.arange(gather_case.ROWS)[counted]
    both = [torch.nn.functional.cross_entropy(x[counted], targets) for x in (logits, logits.T)]
    assert loss.item() == pytest.approx(sum(both).item() / 2, abs=1e-6)
    nothing = contrastive_loss(image, text, towers.logit_scale, counted & False, config)
    nothing.backward()
    assert nothing.item() == 0 and not towers.image[0].weight.grad.any()


def test_known_gradients_flow_into_the_embeddings():
    image, text = torch.randn(2, 4, 3).unbind()
    image.requires_grad_()
    known = EmbeddingGradients(torch.randn(4, 3), torch.randn(4, 3))
    contrastive_loss(image, text, torch.tensor(1.0), None, known).backward()
    assert torch.equal(image.grad, known.image_BD)


def test_rows_that_ranks_cannot_share_are_refused():
    embeddings = torch.eye(6)
    with pytest.raises(ConfigError, match="6 rows, which 4 contrastive ranks cannot share"):
        contrastive_loss(
            embeddings, embeddings, torch.tensor(1.0), None, ContrastiveConfig(ranks=4)
        )


def test_ranks_that_processes_cannot_share_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flava.objectives.contrastive.world", lambda: (0, 4))
    embeddings = torch.eye(6)
    with pytest.raises(ConfigError, match=r"ranks is 6, not a multiple of the 4 processes"):
        contrastive_loss(
            embeddings, embeddings, torch.tensor(1.0), None, ContrastiveConfig(ranks=6)
        )
