"""classify_genes from tables and a small checkpoint to a folder; the published labels' shortcut."""

from __future__ import annotations

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

import cellwright
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.models.rank_encoder import RankShape, random_rank_encoder
from cellwright.representations.geneformer import GeneformerRun
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.workflows.classify_genes_finetune import Tuning
from cellwright.workflows.gene_expression import expression_features, level_of

GENES = 60
IDS = [f"ENSG{i:011d}" for i in range(GENES)]
SYMBOLS = [f"{'ZNF' if i % 3 == 0 else 'GATA' if i % 3 == 1 else 'TBX'}{i}" for i in range(GENES)]
LR = ("logistic-regression",)


@pytest.fixture
def folder(tmp_path):
    """labels.csv, genes.tsv, a checkpoint and 40 cells; positives are long genes."""
    rng = np.random.default_rng(0)
    positive = np.arange(GENES) % 2 == 0
    pd.DataFrame(
        {
            "ensembl_id": IDS,
            "insensitive": np.where(positive, "", "Yes"),
            "sensitive": np.where(positive, "Yes", ""),
        }
    ).to_csv(tmp_path / "labels.csv", index=False)
    length = np.where(positive, 90_000, 30_000) * rng.lognormal(0, 0.4, GENES)
    pd.DataFrame(
        {"ensgene": IDS, "symbol": SYMBOLS, "length": length.astype(int), "biotype": "coding"}
    ).to_csv(tmp_path / "genes.tsv", index=False, sep="\t")
    vocabulary = RankVocabulary(
        gene_ids=np.array(IDS),
        symbols=np.array(SYMBOLS),
        medians_g=rng.lognormal(1, 0.5, GENES),
        token_ids_g=2 + np.arange(GENES),
        special={"<pad>": 0, "<mask>": 1},
    )
    shape = RankShape(GENES + 2, width=16, layers=2, heads=2, feedforward=16, positions=64)
    model = random_rank_encoder(shape, 0).eval()
    GeneformerRun("tiny", tmp_path, model, {}, vocabulary, "mean").save(tmp_path / "tiny")
    vocabulary.save(tmp_path / "vocabulary.tsv")
    counts = rng.poisson(1.5, (40, GENES)).astype(np.float32)
    counts[:, -1] = 0
    cells = ad.AnnData(sp.csr_matrix(counts), var=pd.DataFrame(index=IDS))
    cells.obs_names = [f"c{i}" for i in range(40)]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    return tmp_path


@pytest.fixture
def classify(folder):
    def run(reps=(), **how):
        how = {"classifiers": LR, "folds": 3, "repeats": 1, "hidden": (), "resamples": 100} | how
        return cellwright.classify_genes(folder / "labels.csv", reps, **how)

    return run


def test_everything_is_in_the_folder_and_nothing_is_lost_silently(folder, classify):
    out = folder / "out"
    result = classify(
        [folder / "tiny"],
        cells=folder / "cells.h5ad",
        gene_table=folder / "genes.tsv",
        hidden=(0.0, 0.5),
        finetune=Tuning(epochs=1),
        out=out,
    )
    found = json.loads((out / "metrics.json").read_text())
    assert found["schema"] == "cellwright.classify-genes/1"
    assert found["asked"] == ["tiny:static", "tiny:contextual"]
    assert found["genes_compared"] == GENES - 1
    assert any(
        "1 of 60 labelled genes (1 insensitive) are left out: 1 ranked in no cell" in s
        for s in found["sentences"]
    )
    reps = {s["rep"] for s in found["scores"]}
    assert {
        "tiny:static + LR",
        "tiny:contextual + LR",
        "tiny:fine-tuned",
        "untrained tiny:static + LR",
        "untrained tiny:contextual + LR",
        "expression + LR",
        "gene properties + LR",
        "length, median, ZNF + LR",
        "family ZNF + LR",
    } == reps
    auc = result.score("gene properties + LR")
    assert auc.value > 0.8 and auc.unit == "genes" and auc.n == GENES - 1
    assert result.score("tiny:static + LR").difference["high"] < 0
    assert "The simple method wins" in " ".join(found["sentences"])
    predictions = pd.read_csv(out / "predictions.tsv", sep="\t")
    assert set(predictions.design) == {"repeated", "grouped"}
    assert (predictions.groupby(["method", "design"]).gene.nunique() == GENES - 1).all()
    genes = pd.read_csv(out / "genes.tsv", sep="\t", keep_default_na=False)
    assert genes.left_out.tolist()[-1] == "ranked in no cell (tiny:contextual)"
    assert genes.family.value_counts().to_dict() == {"ZNF": 20, "GATA": 20, "TBX": 20}
    figures = {f.name for f in (out / "figures").iterdir()}
    expected = {"macro_f1.png", "roc.png", "roc_auc.png", "recall.png", "hidden_labels.png"}
    assert expected | {"roc_families.png", "confusion_tiny_fine-tuned.png"} <= figures
    hidden = {(h["view"], h["method"]) for h in found["hidden"]}
    assert ("gene properties", "self-training") in hidden
    with pytest.raises(RunError, match="exists already"):
        classify(out=out)


def test_the_same_seed_gives_the_same_answers(folder, classify):
    a, b = (classify([f"{folder}/tiny:static"], vocabulary=folder / "vocabulary.tsv") for _ in "ab")
    for x, y in zip(a.answers, b.answers, strict=True):
        np.testing.assert_array_equal(x.probability_mk, y.probability_mk)


def test_what_a_property_baseline_lacks_is_said(folder, classify):
    result = classify(vocabulary=folder / "vocabulary.tsv")
    assert set(result.views.lacks) == {"length", "detection", "biotype"}
    assert any("lacks length (no gene table" in s for s in result.sentences)


def test_families_that_compare_nothing_are_said(folder, classify):
    said = "No family holds genes of two classes, so there is no AUC within families."
    own = pd.DataFrame({"gene": IDS, "family": [f"family{i}" for i in range(GENES)]})
    own.to_csv(folder / "own.csv", index=False)
    alone = classify(gene_table=folder / "genes.tsv", family_table=folder / "own.csv")
    assert said in alone.sentences
    pairs = own.assign(family=[f"family{i // 2}" for i in range(GENES)])
    pairs.to_csv(folder / "own.csv", index=False)
    paired = classify(gene_table=folder / "genes.tsv", family_table=folder / "own.csv")
    assert said not in paired.sentences


def test_a_near_label_is_a_ceiling_and_never_compared(folder, classify):
    (folder / "pli.txt").write_text("gene\n" + "\n".join(IDS[::2]) + "\n")
    result = classify(
        [f"{folder}/tiny:static"], gene_table=folder / "genes.tsv", ceilings=[folder / "pli.txt"]
    )
    assert result.ceilings == ("ceiling:pli + LR",)
    assert result.score("ceiling:pli + LR").value == 1
    assert result.score("ceiling:pli + LR").difference is None
    assert {d.rep for d in result.differences} == {"tiny:static + LR"}
    assert "ceiling:pli + LR" not in {s.baseline for s in result.scores}


@pytest.mark.parametrize(
    ("reps", "how", "said"),
    [
        (["nowhere"], {}, "no run folder or checkpoint at 'nowhere'"),
        (["{}/tiny:contextual"], {}, "contextual gene vectors need cells"),
        (["{}/tiny:frozen"], {}, "asks for 'frozen' gene vectors"),
        ([], {"classifiers": ["xgbost"]}, "no classifier 'xgbost': did you mean 'xgboost'"),
        ([], {"hidden": [1.5]}, "hidden labels is 1.5"),
        (["{}/tiny"], {"finetune": Tuning()}, "needs cells"),
    ],
)
def test_settings_that_cannot_work(folder, classify, reps, how, said):
    with pytest.raises(SettingsError) as caught:
        classify([r.format(folder) for r in reps], **how)
    assert said in str(caught.value)


def test_labels_of_another_organism_or_too_few(folder, classify, tmp_path):
    text = "gene,kind\n" + "".join(f"ENSMUSG{i:011d},{'ab'[i % 2]}\n" for i in range(20))
    path = tmp_path / "mouse.csv"
    path.write_text(text)
    how = {"classifiers": LR, "folds": 3}
    with pytest.raises(DataError, match=r"none of the 20 labelled genes .*look like mouse"):
        cellwright.classify_genes(path, [f"{folder}/tiny"], **how)
    few = "gene,kind\n" + "".join(f"{g},{'a' if i < 2 else 'b'}\n" for i, g in enumerate(IDS))
    path.write_text(few)
    with pytest.raises(DataError, match=r"class 'a' has 2 genes .*fewer than the 3 folds"):
        cellwright.classify_genes(path, [f"{folder}/tiny"], **how)


def test_expression_features_are_what_they_say():
    rng = np.random.default_rng(1)
    counts = sp.csr_matrix(rng.poisson(0.7, (30, 12)).astype(np.float64))
    columns = np.array([3, 0, 7])
    detection_g, median_g = level_of(counts, np.array([3, -1, 7]))
    dense = counts.toarray()
    scaled = dense / dense.sum(axis=1, keepdims=True) * 1e4
    assert detection_g[0] == (dense[:, 3] > 0).mean() and np.isnan(detection_g[1])
    assert median_g[2] == pytest.approx(np.median(scaled[dense[:, 7] > 0, 7]))
    found = expression_features(counts, columns)
    logs = np.log1p(scaled)[:, columns]
    np.testing.assert_allclose(found[:, 0], logs.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found[:, 1], (dense[:, columns] > 0).mean(axis=0))
    np.testing.assert_allclose(found[:, 2], logs.std(axis=0), rtol=1e-4)


def test_three_properties_reach_the_published_dosage_labels(real_data):
    """Log length, log nonzero median and the zinc-finger family, logistic regression: AUC 0.917."""
    result = cellwright.classify_genes(
        real_data / "gene_labels" / "dosage_sens_tf_labels.csv",
        gene_table=real_data / "gene_coords" / "grch38_genes_ensembl_annotables.tsv.gz",
        vocabulary=real_data / "geneformer_vocab" / "geneformer_gc30M_vocab.tsv.gz",
        classifiers=LR,
        repeats=1,
        hidden=(),
        resamples=200,
    )
    three = result.answer("length, median, ZNF + LR")
    # As the figure was measured, all genes in one ranking; by folds it is a little higher.
    pooled = roc_auc_score(three.truth_m, three.probability_mk[:, 1])
    assert pooled == pytest.approx(0.917, abs=0.01)
    assert result.score(three.rep).value > pooled
    assert result.score("family ZNF + LR").value == pytest.approx(0.80, abs=0.03)
    within = result.score("family ZNF + LR", "auc_within_family")
    assert within.value == pytest.approx(0.5)
    assert result.score("gene properties + LR", design="grouped").unit == "genes"
