"""Published weights in the place of a trained run: CLIP's or FLAVA's, evaluated only.

python -m flava.train.imported --config results/<study>/runs/<run>/config.json
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import torch

from flava.data.commands import config_argument
from flava.data.tokenizer import load_tokenizer
from flava.errors import ConfigError, run_cli
from flava.io import atomic_directory, sha256_file, write_json
from flava.jobs import ImportJob, load_job
from flava.models import build, load_model, save_model
from flava.models.published import load_published
from flava.records import make_record
from flava.train.finish import WEIGHTS, check_equal


def import_model(job: ImportJob) -> None:
    """Writes model/ in the layout of trained runs and, last, record.json.

    Raises:
        CheckpointError: the weights are missing, damaged or of another architecture.
        ConfigError: the study's vocabulary has another size than that of the weights.
    """
    started = time.time()
    output = Path(job.output)
    (output / "record.json").unlink(missing_ok=True)
    _check_vocabulary(job)
    published = load_published(job.weights, job.part, job.architecture)
    torch.manual_seed(job.seed)  # of heads that the file lacks; evaluation reads none
    model = build(job.part, job.architecture)
    published.load_into(model)
    with atomic_directory(output / "model") as temporary:
        save_model(model, temporary)
        shutil.copyfile(job.tokenizer_path, temporary / "tokenizer.json")
        check_equal(model.state_dict(), load_model(temporary).state_dict(), output / "model")
    facts = {
        "converted": published.report,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "model_sha256": sha256_file(output / "model" / WEIGHTS),
    }
    write_json(output / "record.json", make_record("import", job, started, extra=facts))


def _check_vocabulary(job: ImportJob) -> None:
    """Each id has a published meaning: another vocabulary would give scores that mean nothing."""
    entries, known = load_tokenizer(job.tokenizer_path).vocab_size, job.architecture.vocab_size
    if entries != known:
        raise ConfigError(
            f"{job.column}: the study's tokenizer '{job.tokenizer}' has {entries} entries, but the "
            f"published model {known}. Set data.tokenizers.{job.tokenizer}.vocab_file to the "
            "vocabulary that it was published with."
        )


def main() -> None:
    """Command line."""
    import_model(load_job(ImportJob, config_argument(__doc__)))


if __name__ == "__main__":
    run_cli(main)
