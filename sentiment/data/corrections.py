"""What users corrected, added to the labelled text that a model learns from."""

from __future__ import annotations

from dataclasses import replace

from sentiment.data.sources import labelled_chunks
from sentiment.data.split import Split
from sentiment.data.splits import Splits
from sentiment.errors import DataError


def with_corrections(
    splits: Splits, file: str, *, text_column: str = "text", label_column: str = "label"
) -> Splits:
    """Return the splits with further labelled rows to train on; they win over what they correct.

    Validation and test rows stay as they are, so that the next model is judged as the last one was:
    a row whose text is held out is left out, and counted.

    Parameters
    ----------
    splits : Splits
    file : str
        What ``sentiment feedback export`` writes, or any file of texts and labels.
    text_column, label_column : str

    Raises
    ------
    DataError
        It cannot be read, or holds a label that the data lacks.
    """
    found: dict[str, str] = {}
    for chunk in labelled_chunks(file, text_column=text_column, label_column=label_column):
        for text, label in chunk.drop_nulls().iter_rows():
            found[text] = label  # the newest answer counts
    unknown = sorted(set(found.values()) - set(splits.classes))
    if unknown:
        raise DataError(
            f"{file}: holds labels that the data lacks: {', '.join(unknown[:5])} "
            f"(there are: {', '.join(splits.classes[:20])})"
        )
    held_out = {*splits.val.texts, *splits.test.texts}
    added = {text: label for text, label in found.items() if text not in held_out}
    kept = splits.train.take(
        [place for place, text in enumerate(splits.train.texts) if text not in added]
    )
    train = kept.joined(Split([*added], [*added.values()]))
    report = {
        **splits.report,
        "rows_train": len(train),
        "corrections": len(added),
        "corrections_held_out": len(found) - len(added),
    }
    pool = [text for text in splits.unlabelled if text not in added]
    if splits.unlabelled:
        report["rows_unlabelled"] = len(pool)
    return replace(splits, train=train, report=report, train_fingerprint=None, unlabelled=pool)
