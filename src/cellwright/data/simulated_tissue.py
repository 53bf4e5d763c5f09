"""The planted truth of a simulated tissue: what every gene does in every type, donor and library.

The expected count of gene g in cell n is

    mu_ng = depth_n * exp(eta_ng) / sum_g exp(eta_ng)
    eta_ng = type_effect[type(n), g] + programs_np @ loadings_pg + library_effect[library(n), g]

and its count is negative binomial with that mean and dispersion theta_g: variance
mu + mu**2 / theta. Donor and region effects are part of their libraries' effects, because a
library is one donor's piece of one region.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.neuron_markers import (
    CLASS_MARKERS,
    ENSEMBL_IDS,
    PROGRAMS,
    REGIONS,
    SUBCLASSES,
    Subclass,
)
from cellwright.errors import SettingsError

TISSUE_STREAM = 0


@dataclass(frozen=True)
class TissueSettings:
    """What decides the planted truth, apart from how many cells are drawn from it.

    n_genes: markers first, then genes of the programs, then made-up genes. subclasses: names from
    ``SUBCLASSES``, all if None. clusters: clusters in each subclass. depth: median count of a
    cell; None means one count per gene, at which 20 to 40 % of the entries are not zero.
    batch_effect: scales the donor, region and library effects, 0 for none.
    """

    n_genes: int = 1000
    seed: int = 0
    n_donors: int = 6
    n_libraries: int = 12
    n_regions: int = 3
    subclasses: tuple[str, ...] | None = None
    clusters: int = 1
    n_programs: int = len(PROGRAMS)
    depth: float | None = None
    batch_effect: float = 1.0


@dataclass(frozen=True)
class Tissue:
    """The drawn truth; axis letters t types (clusters), l libraries, p programs, g genes."""

    settings: TissueSettings
    genes: pd.DataFrame
    types: pd.DataFrame
    libraries: pd.DataFrame
    type_share_lt: NDArray[np.float64]
    type_effect_tg: NDArray[np.float32]
    program_mean_tp: NDArray[np.float32]
    loadings_pg: NDArray[np.float32]
    library_effect_lg: NDArray[np.float32]
    theta_g: NDArray[np.float32]
    map_loadings_p2: NDArray[np.float32]

    def mean_counts(
        self,
        types_n: NDArray[np.int64],
        libraries_n: NDArray[np.int64],
        programs_np: NDArray[np.float32],
        depth_n: NDArray[np.float32],
    ) -> NDArray[np.float32]:
        """Expected counts mu_ng of cells with these types, libraries, programs and depths."""
        eta_ng = programs_np @ self.loadings_pg
        eta_ng += self.type_effect_tg[types_n]
        eta_ng += self.library_effect_lg[libraries_n]
        np.exp(eta_ng, out=eta_ng)
        eta_ng *= (depth_n / eta_ng.sum(axis=1))[:, None]
        return eta_ng


def plant(settings: TissueSettings) -> Tissue:
    """Draw the truth; the same settings give the same truth.

    Raises
    ------
    SettingsError
        For a number out of range, too few genes for the markers, or an unknown subclass (the
        nearest known one is named).
    """
    chosen = _chosen(settings)
    _check(settings, len(chosen))
    sequence = np.random.SeedSequence(settings.seed, spawn_key=(TISSUE_STREAM,))
    rng = np.random.Generator(np.random.Philox(sequence))
    types = _types(chosen, settings.clusters)
    genes = _genes(chosen, settings)
    libraries = _libraries(settings, rng)
    base_g, type_effect_tg = _type_effects(chosen, types, genes, rng)
    loadings_pg = _loadings(genes, settings.n_programs, rng)
    library_effect_lg, type_share_lt = _library_effects(types, libraries, len(genes), settings, rng)
    return Tissue(
        settings=settings,
        genes=genes,
        types=types,
        libraries=libraries,
        type_share_lt=type_share_lt,
        type_effect_tg=(base_g + type_effect_tg).astype(np.float32),
        program_mean_tp=(0.4 * rng.standard_normal((len(types), settings.n_programs))).astype("f4"),
        loadings_pg=loadings_pg,
        library_effect_lg=library_effect_lg,
        theta_g=np.exp(rng.normal(np.log(4.0), 0.4, len(genes))).astype(np.float32),
        map_loadings_p2=(0.5 * rng.standard_normal((settings.n_programs, 2))).astype(np.float32),
    )


def _chosen(settings: TissueSettings) -> list[Subclass]:
    known = {s.name: s for s in SUBCLASSES}
    if settings.subclasses is None:
        return list(SUBCLASSES)
    for name in settings.subclasses:
        if name not in known:
            close = nearest(name, known)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(known)}"
            raise SettingsError(f"no subclass {name!r} to simulate: {hint}")
    chosen = list(dict.fromkeys(settings.subclasses))
    if not chosen:
        raise SettingsError("no subclass was asked for: expected at least one")
    return [known[name] for name in chosen]


def _check(settings: TissueSettings, n_subclasses: int) -> None:
    least = {
        "n_donors": 1,
        "n_libraries": settings.n_donors,
        "n_regions": 1,
        "clusters": 1,
        "n_programs": 0,
        "seed": 0,
    }
    most = {"n_regions": len(REGIONS), "clusters": 20, "n_programs": len(PROGRAMS)}
    for name, low in least.items():
        value = getattr(settings, name)
        if value < low:
            why = " (one library per donor at least)" if name == "n_libraries" else ""
            raise SettingsError(f"{name} is {value}, expected at least {low}{why}")
        if value > most.get(name, value):
            raise SettingsError(f"{name} is {value}, expected at most {most[name]}")
    needed = len(CLASS_MARKERS) * 2 + n_subclasses
    if settings.n_genes < needed:
        raise SettingsError(
            f"n_genes is {settings.n_genes}, expected at least {needed}: "
            f"{len(CLASS_MARKERS) * 2} markers of the two classes and one for each of the "
            f"{n_subclasses} subclasses"
        )
    if settings.depth is not None and not 0 < settings.depth < 1e7:
        raise SettingsError(f"depth is {settings.depth}, expected counts per cell above 0")
    if not 0 <= settings.batch_effect <= 10:
        raise SettingsError(f"batch_effect is {settings.batch_effect}, expected 0 to 10")


def _types(chosen: list[Subclass], clusters: int) -> pd.DataFrame:
    rows = []
    for subclass in chosen:
        for i in range(clusters):
            alias = subclass.alias + i
            rows.append(
                {
                    "cluster_alias": alias,
                    "subtype": f"cluster_{alias}",
                    "subclass": subclass.name,
                    "cell_class": subclass.cell_class,
                    "share": subclass.share / clusters,
                }
            )
    types = pd.DataFrame(rows)
    types["share"] /= types["share"].sum()
    # Like real neurons: excitatory nuclei hold more RNA, so depth alone tells something.
    types["log_depth"] = np.where(types["cell_class"] == "excitatory", 0.25, -0.25)
    # A flat picture of the truth: the two classes apart, subclasses on a ring, clusters close by.
    within = types.groupby("subclass", sort=False).ngroup()
    angle = 2 * np.pi * within / max(len(chosen), 1)
    spread = 0.8 * types.groupby("subclass").cumcount()
    types["x"] = (
        np.where(types["cell_class"] == "excitatory", -12.0, 12.0) + 8 * np.cos(angle) + spread
    )
    types["y"] = 8 * np.sin(angle) + spread
    return types


def _genes(chosen: list[Subclass], settings: TissueSettings) -> pd.DataFrame:
    """Genes by Ensembl id; the most needed ones survive a small ``n_genes``."""
    marker_of: dict[str, list[str]] = {}
    for place in range(5):
        for name, markers in CLASS_MARKERS.items():
            # The first two of each class come before any subclass, the rest after the first.
            for symbol in markers[2 * place : 2 * place + 2]:
                marker_of.setdefault(symbol, []).append(name)
        for subclass in chosen:
            for symbol in subclass.markers[place : place + 1]:
                marker_of.setdefault(symbol, []).append(subclass.name)
    program_of = {
        symbol: name
        for name, symbols in list(PROGRAMS.items())[: settings.n_programs]
        for symbol in symbols
    }
    real = [*marker_of, *program_of][: settings.n_genes]
    rows = [
        (ENSEMBL_IDS[s], s, ";".join(marker_of.get(s, [])), program_of.get(s, ""), False)
        for s in real
    ]
    # Ensembl's human ids stay far below this number, so no made-up gene meets a real one.
    rows += [
        (f"ENSG{90_000_000 + i:011d}", f"SIM{i:05d}", "", "", True)
        for i in range(1, settings.n_genes - len(real) + 1)
    ]
    names = ["gene_id", "gene_symbol", "marker_of", "program", "simulated_id"]
    return pd.DataFrame(rows, columns=names).set_index("gene_id").sort_index()


def _libraries(settings: TissueSettings, rng: np.random.Generator) -> pd.DataFrame:
    """Each library is of one donor and one region; its share of the cells is uneven."""
    number = np.arange(settings.n_libraries)
    donor = number % settings.n_donors
    # Cortex first and most often; the shift by rounds keeps regions from being donors.
    wheel = [0, *range(settings.n_regions)] if settings.n_regions > 1 else [0]
    region = np.array(wheel)[(number // settings.n_donors + number) % len(wheel)]
    share = np.exp(rng.normal(0.0, 0.4, settings.n_libraries))
    return pd.DataFrame(
        {
            "library_label": [f"SIM_D{d + 1:02d}_L{i + 1:03d}" for i, d in enumerate(donor)],
            "donor": [f"donor_{d + 1:02d}" for d in donor],
            "anatomical_division_label": [REGIONS[r] for r in region],
            "donor_index": donor,
            "region_index": region,
            "share": share / share.sum(),
            "log_depth": rng.normal(0.0, 0.2 * settings.batch_effect, settings.n_libraries),
        }
    )


def _type_effects(
    chosen: list[Subclass], types: pd.DataFrame, genes: pd.DataFrame, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Log expression common to all types (genes,), and what each type adds (types × genes)."""
    n_genes = len(genes)
    marker_of = [set(m.split(";")) - {""} for m in genes["marker_of"]]
    is_marker = np.array([bool(m) for m in marker_of])
    base_g = rng.normal(0.0, 1.3, n_genes)
    base_g[is_marker] = rng.normal(-1.8, 0.3, is_marker.sum())
    named = (genes["program"] != "").to_numpy() & ~is_marker
    base_g[named] = rng.normal(0.6, 0.7, named.sum())
    rise_g = rng.normal(4.0, 0.3, n_genes)

    def scattered(share: float, spread: float) -> NDArray[np.float64]:
        return rng.normal(0.0, spread, n_genes) * (rng.random(n_genes) < share) * ~is_marker

    by_class = {name: scattered(0.20, 0.35) for name in CLASS_MARKERS}
    by_subclass = {subclass.name: scattered(0.15, 0.5) for subclass in chosen}
    effect_tg = np.zeros((len(types), n_genes))
    for t, (cell_class, subclass) in enumerate(types[["cell_class", "subclass"]].to_numpy(str)):
        up_g = np.array([bool(m & {cell_class, subclass}) for m in marker_of])
        effect_tg[t] = by_class[cell_class] + by_subclass[subclass] + up_g * rise_g
        if (types["subclass"] == subclass).sum() > 1:
            effect_tg[t] += scattered(0.10, 0.8)
    return base_g, effect_tg


def _loadings(
    genes: pd.DataFrame, n_programs: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Sparse loadings (programs × genes) in log units: named genes 0.9, an eighth of the others."""
    loadings_pg = rng.normal(0.0, 0.6, (n_programs, len(genes)))
    loadings_pg *= rng.random(loadings_pg.shape) < 0.125
    for p, name in enumerate(list(PROGRAMS)[:n_programs]):
        loadings_pg[p, (genes["program"] == name).to_numpy()] = 0.9
    return loadings_pg.astype(np.float32)


def _library_effects(
    types: pd.DataFrame,
    libraries: pd.DataFrame,
    n_genes: int,
    settings: TissueSettings,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Log shifts (libraries × genes) of donor, region and library, and type shares per library."""
    donor_dg = rng.normal(0.0, 0.12, (settings.n_donors, n_genes))
    region_rg = rng.normal(0.0, 0.12, (len(REGIONS), n_genes))
    own_lg = rng.normal(0.0, 0.15, (len(libraries), n_genes))
    effect_lg = donor_dg[libraries["donor_index"]] + region_rg[libraries["region_index"]] + own_lg
    tilt_rt = np.exp(rng.normal(0.0, 0.5, (len(REGIONS), len(types))))
    tilt_rt[0] = 1.0
    share_rt = types["share"].to_numpy() * tilt_rt
    share_rt /= share_rt.sum(axis=1, keepdims=True)
    drawn = [rng.dirichlet(1.0 + 40 * share_rt[r]) for r in libraries["region_index"]]
    return (settings.batch_effect * effect_lg).astype(np.float32), np.array(drawn)
