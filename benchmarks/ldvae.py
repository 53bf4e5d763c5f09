"""The linear VAE beside scvi-tools' ``LinearSCVI``: ``python benchmarks/ldvae.py``.

Simulated cortex of the protocol's size, 9,000 training cells × 29,651 genes with about 15 % of the
entries not zero; the same batch size, latent, likelihood, library, threads and allocator on both
sides; our counts once in memory and once on disk (``cellwright ldvae --from-disk``). Each side runs in
a process of its own that trains an epoch when told to, so that the epochs take turns and what else the
machine does falls on all. Prints seconds per epoch of each (median, the first epoch left out;
validation on no side), the ratios, and peak memory, imports and reading the file included.

``--elbo`` trains both to early stopping instead (long: hours; behind the KL warm-up, on the full-KL
ELBO of 1,000 validation cells) and prints the full-KL negative ELBO of 1,000 other cells that neither
side has seen, of the epoch best on validation and of the last; scvi-tools' weights are evaluated by the
same code as ours. ``--seeds`` repeats it.
``--library latent`` compares the learned library size. ``--allocator keep`` lets glibc keep freed
memory, on both sides. ``--side-by-side FILE --label COLUMN`` trains both for ``--max-epochs`` on four
fifths of real cells, once per seed, and compares the last weights on the other fifth: ELBO, and the
accuracy of a probe of the label on the latent, both paired by cell.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import scipy.sparse as sp

GENES, TRAIN, HELD = 29_651, 9_000, 1_000  # held out twice: to choose the epoch, and to judge
KEEP = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 34)}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--cells", type=int, default=TRAIN)
    options.add_argument("--genes", type=int, default=GENES)
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--latent", type=int, default=36)
    options.add_argument("--batch", type=int, default=128)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--library", choices=("observed", "latent"), default="observed")
    options.add_argument("--precision", choices=("auto", "float32"), default="auto")
    options.add_argument("--allocator", choices=("plain", "keep"), default="plain")
    options.add_argument("--elbo", action="store_true")
    options.add_argument("--side-by-side", type=Path, metavar="FILE")
    options.add_argument("--label", default="classified")
    options.add_argument("--seeds", type=int, nargs="+", default=[0])
    options.add_argument("--max-epochs", type=int, default=400)
    options.add_argument("--warmup", type=int, help="epochs of the KL; half the epochs by default")
    options.add_argument("--patience", type=int, default=45)
    options.add_argument("--learning-rate", type=float, default=1e-3)
    options.add_argument("--worker", choices=("ours", "disk", "scvi"), help=argparse.SUPPRESS)
    options.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.warmup is None:
        given.warmup = given.max_epochs // 2
    if given.worker:
        {"ours": ours, "disk": ours, "scvi": theirs}[given.worker](given)
        return
    if given.side_by_side:
        side_by_side(given)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cortex.h5ad"
        start = time.perf_counter()
        counts = cortex(given.cells + 2 * HELD, given.genes)
        ad.AnnData(counts[: given.cells]).write_h5ad(file)
        ad.AnnData(counts[given.cells : -HELD]).write_h5ad(validation(file))
        ad.AnnData(counts[-HELD:]).write_h5ad(held_out(file))
        density = counts.nnz / np.prod(counts.shape)
        print(
            f"{given.cells:,} training, {HELD:,} validation and {HELD:,} held-out cells × "
            f"{given.genes:,} genes, "
            f"{density:.1%} not zero, simulated in {time.perf_counter() - start:.0f} s; latent "
            f"{given.latent}, batch {given.batch}, library {given.library}, {given.threads} "
            f"threads, allocator {given.allocator}",
            flush=True,
        )
        del counts
        if given.elbo:
            elbos(given, file)
        else:
            rates(given, file)


def rates(given: argparse.Namespace, file: Path) -> None:
    """Epochs in turn, seconds and memory."""
    sides = {side: started(given, file, side, 0) for side in ("ours", "disk", "scvi")}
    for side in sides.values():
        answer(side)  # ready
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    for epoch in range(given.epochs + 1):  # the first warms up
        for name, side in sides.items():
            tell(side, "epoch")
            found = answer(side)["seconds"]
            if epoch:
                seconds[name].append(found)
        if epoch:
            both = ", ".join(f"{name} {spent[-1]:.2f}" for name, spent in seconds.items())
            print(f"epoch {epoch}: {both} s", flush=True)
    memory = {}
    for name, side in sides.items():
        tell(side, "end")
        memory[name] = answer(side)["bytes"]
        side.wait()
    median = {name: statistics.median(spent) for name, spent in seconds.items()}
    for name in sides:
        print(f"{name:5s} {median[name]:7.2f} s an epoch, peak {memory[name] / 1e6:,.0f} MB")
    for name, words in (("ours", "ours in memory"), ("disk", "ours from disk")):
        print(
            f"scvi-tools / {words}: {median['scvi'] / median[name]:.2f}x the seconds; "
            f"{words} / scvi-tools: {memory[name] / memory['scvi']:.2f} of the memory"
        )


def elbos(given: argparse.Namespace, file: Path) -> None:
    """Held-out negative ELBO after early stopping, one side after the other."""
    found: dict[str, dict[str, list[float]]] = {
        name: {"best": [], "last": []} for name in ("ours", "scvi")
    }
    for seed in given.seeds:
        for name, values in found.items():
            side = started(given, file, name, seed)
            told = answer(side)
            side.wait()
            for epoch, elbos in values.items():
                elbos.append(told[epoch])
            print(
                f"seed {seed}, {name}: held-out negative ELBO {told['best']:.2f} of the best epoch "
                f"({told['best_epoch']}), {told['last']:.2f} of the last ({told['epochs']}), "
                f"{told['seconds']:.0f} s, {told['bytes'] / 1e6:,.0f} MB",
                f"\n  validation, by epoch: {' '.join(f'{loss:.0f}' for loss in told['curve'])}",
                flush=True,
            )
    for name, values in found.items():
        for epoch, elbos in values.items():
            spread = statistics.stdev(elbos) if len(elbos) > 1 else float("nan")
            mean = statistics.mean(elbos)
            print(f"{name:5s} {epoch} epoch: {mean:.2f}, standard deviation {spread:.2f}")


def side_by_side(given: argparse.Namespace) -> None:
    """The same cells and epochs on both sides: held-out ELBO and annotation from the latent."""
    import torch

    torch.set_num_threads(given.threads)
    from cellwright.data.reading import counts_of, read_cells
    from cellwright.evaluation.probe import Standardized
    from cellwright.training.linear_vae_fit import prepared, trained
    from cellwright.training.linear_vae_objective import latent_means
    from cellwright.training.linear_vae_settings import LDVAESettings
    from cellwright.training.packed_counts import PackedCounts

    cells = read_cells(given.side_by_side)
    counts_ng = counts_of(cells)
    classes, codes_n = np.unique(cells.obs[given.label].astype(str), return_inverse=True)
    fold_n = np.random.default_rng(0).permutation(len(codes_n)) % 5
    train, test = np.flatnonzero(fold_n > 0), np.flatnonzero(fold_n == 0)
    print(
        f"{given.side_by_side.name}: {len(train):,} training and {len(test):,} test cells × "
        f"{cells.n_vars:,} genes, {len(classes)} classes of {given.label}, latent {given.latent}, "
        f"{given.max_epochs} epochs, library {given.library}"
    )
    found: dict[str, list[Any]] = {"elbo": [], "right": []}
    for seed in given.seeds:
        settings = LDVAESettings(
            latent=given.latent,
            batch_size=given.batch,
            library=given.library,
            precision=given.precision,
            seed=seed,
            epochs=given.max_epochs,
            kl_warmup=given.warmup,
            patience=None,
            learning_rate=given.learning_rate,
        )
        packed_train, packed_test = (PackedCounts.of_matrix(counts_ng[r]) for r in (train, test))
        zeros = (np.zeros(len(r), np.int64) for r in (train, test))
        done = trained(*prepared(packed_train, packed_test, *zeros, settings), None)
        done.model.load_state_dict(done.fitted.last)
        elbos, rights = [], []
        for model in (done.model, scvi_trained(counts_ng[train], given, seed)):
            elbos.append(elbo_of_cells(model, counts_ng[test]))
            latent_nd = latent_means(model, PackedCounts.of_matrix(counts_ng))
            probe = Standardized(latent_nd[train]).fit(codes_n[train], tuple(classes))
            rights.append(probe.predict(latent_nd[test]) == codes_n[test])
        found["elbo"].append(elbos)
        found["right"].append(rights)
        print(
            f"seed {seed}: negative ELBO ours {-elbos[0].mean():.2f}, scvi {-elbos[1].mean():.2f}; "
            f"accuracy ours {rights[0].mean():.4f}, scvi {rights[1].mean():.4f}",
            flush=True,
        )
    for what, words in (("elbo", "ELBO, nats a cell"), ("right", "accuracy")):
        # Seeds averaged within a cell; cells resampled.
        mean_2n = np.asarray(found[what], dtype=np.float64).mean(0)
        gap_n = mean_2n[0] - mean_2n[1]
        drawn = np.random.default_rng(0).integers(0, len(gap_n), (2000, len(gap_n)))
        low, high = np.quantile(gap_n[drawn].mean(1), [0.025, 0.975])
        print(f"{words}: ours minus scvi-tools {gap_n.mean():+.4f} [{low:+.4f}, {high:+.4f}]")


def scvi_trained(counts_ng: sp.csr_matrix, given: argparse.Namespace, seed: int) -> Any:
    """scvi-tools' model after the same epochs, as ours."""
    import warnings

    warnings.simplefilter("ignore")
    scvi = quiet_scvi(seed)
    from cellwright.representations.scvi_model import linear_vae_of

    cells = ad.AnnData(counts_ng)
    scvi.model.LinearSCVI.setup_anndata(cells)
    model = scvi.model.LinearSCVI(
        cells, n_latent=given.latent, use_observed_lib_size=given.library == "observed"
    )
    model.train(max_epochs=given.max_epochs, train_size=1.0, **training(given))
    return linear_vae_of(model.module).eval()


def elbo_of_cells(model: Any, counts_ng: sp.csr_matrix, draws: int = 5) -> Any:
    """ELBO of every cell in nats, mean over draws of the latent; the same draws for every model."""
    import torch

    from cellwright.models.linear_vae import kl_normal, log_nb

    counts = torch.from_numpy(counts_ng.toarray().astype(np.float32))
    generator = torch.Generator().manual_seed(0)
    zero = torch.zeros(())
    with torch.no_grad():
        latent = model.encoder(counts.log1p())
        total_n = -kl_normal(latent, zero, zero + 1).sum(-1)
        library = None
        if model.library_encoder is not None:
            library = model.library_encoder(counts.log1p())
            mean, variance = model.log_library_mean_b[0], model.log_library_variance_b[0]
            total_n -= kl_normal(library, mean, variance).sum(-1)
        for _ in range(draws):
            z_nd = latent.at(torch.randn(latent.mean_nd.shape, generator=generator))
            size_n1 = counts.sum(1, keepdim=True)
            if library is not None:
                size_n1 = library.at(torch.randn(len(counts), 1, generator=generator)).exp()
            mean_ng = size_n1 * model.decoder(z_nd).softmax(-1)
            total_n += log_nb(counts, mean_ng, model.log_dispersion_g.exp()).sum(-1) / draws
    return total_n.numpy()


def ours(given: argparse.Namespace) -> None:
    """The worker of our side."""
    import torch

    torch.set_num_threads(given.threads)
    from cellwright.training.linear_vae_fit import prepared, trained
    from cellwright.training.linear_vae_settings import LDVAESettings

    file = given.file
    train, val = (packed(one, given.worker == "disk") for one in (file, validation(file)))
    settings = LDVAESettings(
        latent=given.latent,
        batch_size=given.batch,
        library=given.library,
        precision=given.precision,
        seed=given.seed,
        epochs=given.max_epochs if given.elbo else given.epochs + 1,
        kl_warmup=given.warmup,
        patience=given.patience,
        learning_rate=given.learning_rate,
    )
    codes = np.zeros(len(train), np.int64), np.zeros(len(val), np.int64)
    model, objective = prepared(train, val, *codes, settings)
    if given.elbo:
        start = time.perf_counter()
        found = trained(model, objective, None)
        seconds = time.perf_counter() - start
        best = judged(found.model, given)
        found.model.load_state_dict(found.fitted.last)
        say(
            best=best,
            last=judged(found.model, given),
            best_epoch=found.fitted.best_epoch,
            epochs=len(found.history),
            curve=[row["val_loss"] for row in found.history],
            seconds=seconds,
            bytes=peak(),
        )
        return
    say(ready=True)
    heard("epoch")

    def on_epoch(row: dict[str, float]) -> None:
        say(seconds=row["seconds"])
        heard("epoch" if row["epoch"] < settings.epochs else "end")

    trained(model, objective, None, on_epoch=on_epoch)
    say(bytes=peak())


def theirs(given: argparse.Namespace) -> None:
    """The worker of scvi-tools' side."""
    import warnings

    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(given.threads)
    from lightning.pytorch.callbacks import Callback

    scvi = quiet_scvi(given.seed)
    cells = ad.read_h5ad(given.file)
    if given.elbo:
        from cellwright.representations.scvi_model import linear_vae_of

        start = time.perf_counter()
        model, best, best_epoch = scvi_stopped(cells, ad.read_h5ad(validation(given.file)), given)
        seconds = time.perf_counter() - start
        last = judged(linear_vae_of(model.module), given)
        model.module.load_state_dict(best)
        say(
            best=judged(linear_vae_of(model.module), given),
            last=last,
            best_epoch=best_epoch,
            epochs=int(model.trainer.current_epoch),
            curve=[float(v) for v in model.history["elbo_validation"]["elbo_validation"]],
            seconds=seconds,
            bytes=peak(),
        )
        return
    scvi.model.LinearSCVI.setup_anndata(cells)
    model = scvi.model.LinearSCVI(
        cells, n_latent=given.latent, use_observed_lib_size=given.library == "observed"
    )

    class InTurn(Callback):
        """Waits to be told before an epoch and says how long it took."""

        def on_train_epoch_start(self, *_: Any) -> None:
            heard("epoch")
            self.start = time.perf_counter()

        def on_train_epoch_end(self, *_: Any) -> None:
            say(seconds=time.perf_counter() - self.start)

    say(ready=True)
    model.train(
        max_epochs=given.epochs + 1, train_size=1.0, callbacks=[InTurn()], **training(given)
    )
    heard("end")
    say(bytes=peak())


def scvi_stopped(
    train: ad.AnnData, val: ad.AnnData, given: argparse.Namespace
) -> tuple[Any, dict[str, Any], int]:
    """scvi-tools' model after early stopping, its weights best on validation, and their epoch.

    Which cells it trains on is said by index: without shuffling, scvi-tools takes the *first* cells
    for validation. It stops as ours does, behind the warm-up; by itself it would stop within, and
    keep the last weights only.
    """
    from lightning.pytorch.callbacks import Callback
    from scvi.model import LinearSCVI

    class Best(Callback):
        """Keeps the weights of the epoch with the lowest validation loss."""

        loss, epoch = float("inf"), 0

        def on_validation_end(self, trainer: Any, plan: Any) -> None:
            loss = float(trainer.callback_metrics["elbo_validation"])
            if loss < self.loss:
                self.loss, self.epoch = loss, trainer.current_epoch + 1
                self.weights = {k: v.clone() for k, v in plan.module.state_dict().items()}

    cells = ad.concat([train, val], index_unique="-")
    LinearSCVI.setup_anndata(cells)
    model = LinearSCVI(
        cells, n_latent=given.latent, use_observed_lib_size=given.library == "observed"
    )
    best, (train_n, val_n) = Best(), np.split(np.arange(cells.n_obs), [train.n_obs])
    model.train(
        max_epochs=given.max_epochs,
        datasplitter_kwargs={"external_indexing": [train_n, val_n]},
        early_stopping=True,
        early_stopping_patience=given.patience,
        early_stopping_warmup_epochs=given.warmup,
        callbacks=[best],
        **training(given),
    )
    return model, best.weights, best.epoch


def judged(model: Any, given: argparse.Namespace) -> float:
    """Full-KL negative ELBO of the held-out cells, the same draws for every model."""
    import torch

    from cellwright.training.linear_vae_objective import LinearVAEObjective
    from cellwright.training.linear_vae_settings import LDVAESettings

    held = packed(held_out(given.file))
    codes = np.zeros(len(held), np.int64)
    settings = LDVAESettings(latent=given.latent, batch_size=given.batch, seed=given.seed)
    judge = LinearVAEObjective(held, held, codes, codes, settings, bf16=False)
    return sum(judge.held_out(model, torch.device("cpu")))


def quiet_scvi(seed: int) -> Any:
    """scvi-tools, seeded, that says nothing of its progress."""
    import logging

    import scvi

    logging.getLogger("scvi").setLevel(logging.ERROR)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    scvi.settings.seed = seed
    return scvi


def training(given: argparse.Namespace) -> dict[str, Any]:
    """How scvi-tools is told to train."""
    return {
        "accelerator": "cpu",
        "batch_size": given.batch,
        "enable_progress_bar": False,
        "logger": None,
        "plan_kwargs": {"n_epochs_kl_warmup": given.warmup, "lr": given.learning_rate},
    }


def packed(file: Path, on_disk: bool = False) -> Any:
    """The counts of a file in our form, read in blocks."""
    from cellwright.data.blocks import iter_blocks
    from cellwright.data.disk.aside import AsideFile
    from cellwright.data.reading import read_cells
    from cellwright.training.packed_counts import CountsOnDisk, PackedCounts

    cells = read_cells(file, backed=True)
    blocks = (block.counts_ng for block in iter_blocks(cells, block_cells=256))
    if on_disk:
        return CountsOnDisk.of(blocks, AsideFile(file.parent))
    return PackedCounts.of(blocks)


def validation(file: Path) -> Path:
    return file.with_name("validation.h5ad")


def held_out(file: Path) -> Path:
    return file.with_name("held.h5ad")


def cortex(cells: int, genes: int) -> sp.csr_matrix:
    """Counts of cells on 30 axes in 20 types, negative binomial, depths as of nuclei."""
    rng = np.random.default_rng(0)
    axes, types = 30, 20
    base_g = rng.normal(0, 1.9, genes)
    centre_td = rng.normal(0, 1.0, (types, axes))
    w_gd = rng.normal(0, 1.0, (genes, axes)) * (rng.random((genes, axes)) < 0.1)
    theta_g = np.exp(rng.normal(0.5, 0.7, genes)).astype(np.float32)
    blocks = []
    for first in range(0, cells, 500):
        n = min(500, cells - first)
        z_nd = centre_td[rng.integers(0, types, n)] + rng.normal(0, 0.5, (n, axes))
        p_ng = np.exp(z_nd @ w_gd.T * 0.7 + base_g).astype(np.float32)
        depth_n = rng.lognormal(np.log(25_000), 0.5, n)
        mean_ng = p_ng * (depth_n / p_ng.sum(1))[:, None].astype(np.float32)
        rate_ng = mean_ng * rng.standard_gamma(theta_g, size=mean_ng.shape, dtype=np.float32)
        blocks.append(sp.csr_matrix(rng.poisson(rate_ng / theta_g).astype(np.float32)))
    return sp.vstack(blocks, format="csr")


def started(given: argparse.Namespace, file: Path, side: str, seed: int) -> subprocess.Popen[str]:
    passed = [
        f"--{name.replace('_', '-')}={getattr(given, name)}"
        for name in (
            "cells", "genes", "epochs", "latent", "batch", "threads", "library", "precision",
            "max_epochs", "warmup", "patience", "learning_rate",
        )
    ]  # fmt: skip
    environment = {
        **os.environ,
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(given.threads),
    }
    if given.allocator == "keep":
        environment |= KEEP
    return subprocess.Popen(
        [sys.executable, __file__, f"--worker={side}", f"--file={file}", f"--seed={seed}", *passed]
        + (["--elbo"] if given.elbo else []),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )


def tell(side: subprocess.Popen[str], word: str) -> None:
    assert side.stdin is not None
    side.stdin.write(word + "\n")
    side.stdin.flush()


def answer(side: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line of JSON; what libraries print besides is passed over."""
    assert side.stdout is not None
    for line in side.stdout:
        if line.startswith("{"):
            return json.loads(line)
    raise SystemExit(f"a worker ended early with status {side.wait()}")


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def heard(word: str) -> None:
    line = sys.stdin.readline().strip()
    if line != word:
        raise SystemExit(f"expected {word!r}, heard {line!r}")


def peak() -> int:
    """The most memory this process has held, in bytes.

    Not ``ru_maxrss``, which begins at what the parent held when it started this process.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


if __name__ == "__main__":
    main()
