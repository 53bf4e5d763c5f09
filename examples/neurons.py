"""The main job on simulated neurons, cell by cell: run it as a script or paste it into a notebook.

The truth is planted, so what comes out can be judged. Takes under a minute on a laptop; writes
the folder given as argument (default: runs/example).
"""

# %%
import sys
from pathlib import Path

import cellwright as cw

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/example")

# %% [markdown]
# Neurons of 24 libraries from 12 donors, about as deep per gene as real ones. Counts are raw; the
# truth stands beside them.

# %%
cells = cw.simulate(1500, 300, seed=1, n_donors=12, n_libraries=24, depth=2000)
print(cells.obs.groupby("cell_class", observed=True)["subclass"].value_counts().to_string())

# %% [markdown]
# Whole libraries go to one side, so that a library seen in training never helps in the test.

# %%
split = cw.split(cells, by="library_label", label="cell_class")
split.apply(cells)  # writes obs["split"], which everything below respects
print(split.counts)

# %% [markdown]
# The smallest encoder for a few epochs. Its perplexity means something only beside the best guess
# that needs no network, which the first sentence names.

# %%
run = cw.pretrain(cells, folder, size="tiny", epochs=20, force=True)
print("\n".join(run.sentences))

# %% [markdown]
# Vectors of cells and genes, in a copy of the cells: `obsm["X_<run>"]`, `varm["<run>"]`.

# %%
embedded = cw.embed(run.folder, cells)
print(embedded.text())

# %% [markdown]
# What a linear classifier reads off the embedding, beside variable genes, principal components,
# an untrained encoder, and the shortcuts: sequencing depth, the library, both. On neurons this easy
# a simple method wins, and the first sentence says so.

# %%
result = cw.probe(
    cells,
    run.folder,
    label="cell_class",
    positive="excitatory",
    negative="inhibitory",
    group="library_label",
    shuffles=0,
)
print(result.table()[["accuracy", "macro_f1", "roc_auc"]].round(3))
print("\n".join(result.sentences[:3]))

# %% [markdown]
# Clusters found without labels, set beside the labels. In a notebook `run`, `result` and
# `clusters` show themselves as tables; `result.plot_scores()` and the other `plot_…` give Axes.

# %%
clusters = cw.cluster(cells, run.folder, label="subclass", group="library_label")
print(clusters.table()[["ari", "ari_matched", "nmi_matched"]].round(3))
