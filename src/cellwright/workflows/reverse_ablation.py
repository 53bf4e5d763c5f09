"""Does knowledge of genes help to name perturbed ones? Each source alone, left out, and shuffled."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.atomic import refuse_existing
from cellwright.data.genes import gene_names
from cellwright.data.hashes import fingerprint
from cellwright.errors import SettingsError
from cellwright.interfaces import Check
from cellwright.perturbation.gene_knowledge import GeneKnowledge
from cellwright.perturbation.queries import Queries, control_means, draw_queries
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_additive import gene_scores
from cellwright.perturbation.reverse_audit import Visibility, only_genes, visibilities
from cellwright.perturbation.reverse_knowledge_effects import knowledge_effects
from cellwright.representations.expression import log_normalized
from cellwright.training.reverse_settings import NetworkSettings
from cellwright.workflows.provenance import provenance
from cellwright.workflows.reverse_ablation_result import Ablation
from cellwright.workflows.reverse_ablation_scores import Variant, VariantAnswer, judge_ablation
from cellwright.workflows.reverse_benchmark_parts import Part, parts_of
from cellwright.workflows.reverse_dependence_check import check_network
from cellwright.workflows.reverse_knowledge import read_knowledge
from cellwright.workflows.reverse_networks import USE_KNOWLEDGE, fit_network, network_cells
from cellwright.workflows.reverse_screen import read_aliases, read_candidates, screen_of
from cellwright.workflows.subject import read_subject

log = logging.getLogger("cellwright.workflows.reverse_ablation")

LINEAR = "linear-knowledge"
ABLATED = (LINEAR, *USE_KNOWLEDGE)
K = 20
SHUFFLES = 5

Score = Callable[[Queries], NDArray[np.float64]]


@dataclass(frozen=True)
class _Bench:
    """What every variant is fitted on and asked about."""

    expression_ng: sp.csr_matrix
    screen: Screen
    view: Visibility
    knowledge: GeneKnowledge
    knowledge_of: Callable[[Screen], GeneKnowledge]
    k: int
    most: int
    seed: int
    epochs: int | None
    checks: dict[str, Check] = field(default_factory=dict)


def reverse_ablate(
    source: AnnData | Path | str,
    knowledge: Sequence[str],
    *,
    split: str | Path = "unseen-singles",
    methods: Sequence[str] = (LINEAR,),
    k: int = K,
    shuffles: int = SHUFFLES,
    epochs: int | None = None,
    perturbation: str | None = None,
    control: str | None = None,
    separator: str = "+",
    aliases: Mapping[str, str] | Path | str | None = None,
    candidates: Sequence[str] | Path | str | None = None,
    leave_out: Sequence[str] = (),
    batch: str | None = None,
    guide: str | None = None,
    context: str | None = None,
    min_cells: int = 2,
    partitions: int | None = None,
    gene_table: Path | str | None = None,
    build: str = "GRCh38",
    most: int = 50,
    layer: str | None = None,
    assume_counts: bool = False,
    seed: int = 0,
    out: Path | str | None = None,
    force: bool = False,
) -> Ablation:
    """Ask what each source of gene knowledge adds, with paired intervals over perturbations.

    Each method is fitted without knowledge, with all of it, with each source alone, with all but
    each source, and with each source shuffled between genes: the same numbers on the wrong genes,
    which tells knowledge from the room that it gives a method. Candidates' own genes are hidden
    where that is possible.

    Parameters
    ----------
    knowledge
        As in :func:`~cellwright.workflows.reverse_knowledge.read_knowledge`.
    methods
        ``linear-knowledge`` (effects lent between genes that are alike; without knowledge the
        ``linear-inverted`` of the benchmark), ``graph``, ``cross-attention``.
    k
        Cells in a query.
    shuffles
        Times each source is shuffled between genes; networks once.
    epochs
        Of networks; default as in ``reverse train``.
    split, perturbation, control, separator, aliases, candidates, leave_out, batch, guide,
    context, min_cells, partitions, most, layer, assume_counts
        As in :func:`cellwright.reverse_benchmark`.
    gene_table, build
        Coordinates for ``positions`` and ``fourier``.
    out, force
        Folder to write (None writes nothing); replace it if it exists.

    Raises
    ------
    DataError, SettingsError, RunError
        If there is no screen in the data, a file cannot be read, or ``out`` exists.
    """
    started = time.perf_counter()
    if out is not None:
        refuse_existing(out, force=force)
    for name in methods:
        if name not in ABLATED:
            close = nearest(name, ABLATED)
            raise SettingsError(
                f"no method {name!r} that uses gene knowledge: "
                + (f"did you mean {close!r}?" if close else f"known: {', '.join(ABLATED)}")
            )
    for what, number in (("k", k), ("shuffles", shuffles), ("most", most)):
        if number < 1:
            raise SettingsError(f"{what} is {number}, expected 1 or more")
    subject = read_subject(source, layer=layer, assume_counts=assume_counts)
    old_to_new = read_aliases(aliases)
    screen = screen_of(
        subject,
        perturbation,
        leave_out,
        control=control,
        separator=separator,
        aliases=old_to_new,
        candidates=read_candidates(candidates),
        batch=batch,
        guide=guide,
        context=context,
        min_cells=min_cells,
    )
    var = subject.cells.var
    genes = gene_names(var)
    visible, hidden = visibilities(screen, genes)
    view = hidden if hidden.possible else visible
    notes: tuple[str, ...] = ()

    def knowledge_of(other: Screen) -> GeneKnowledge:
        nonlocal notes
        found, notes = read_knowledge(
            knowledge, genes, other.candidates, var, gene_table=gene_table, build=build
        )
        return found.only(view.kept_g)

    bench = _Bench(
        log_normalized(subject.counts_ng), screen, view, knowledge_of(screen), knowledge_of,
        k, most, seed, epochs,
    )  # fmt: skip
    parts, said = parts_of(screen, split, partitions, seed, old_to_new)
    answers: list[VariantAnswer] = []
    for number, part in enumerate(parts):
        start = time.perf_counter()
        for name in methods:
            answers += _answers(bench, part, name, shuffles if name == LINEAR else 1)
        seconds = time.perf_counter() - start
        log.info("%s (%d of %d): %.1f s", part.name, number + 1, len(parts), seconds)
    found = judge_ablation(answers, screen, str(split), seed=seed)
    data = {
        "n_obs": subject.cells.n_obs,
        "n_vars": subject.cells.n_vars,
        "fingerprint": fingerprint(subject.cells, subject.counts_ng),
    }
    result = Ablation(
        split=parts[0].design,
        table=found.table,
        differences=found.differences,
        scores=found.scores,
        checks=tuple(bench.checks.values()),
        sentences=(*found.sentences, *notes, view.sentence, *screen.notes, *said),
        settings={
            "split": str(split),
            # Names of files, without the folders they lie in.
            "knowledge": [_plain(spec) for spec in knowledge],
            "methods": list(methods),
            "k": k,
            "shuffles": shuffles,
            "epochs": epochs,
            "candidates": len(screen.candidates),
            "partitions": len(parts),
            "genes": view.name,
            "build": build,
            "batch": batch,
            "guide": guide,
            "context": context,
            "most": most,
            "seed": seed,
        },
        provenance=provenance(seed, data)
        | {"seconds": float(np.round(time.perf_counter() - started, 1))},
        folder=None if out is None else Path(out),
    )
    if out is not None:
        result.write(Path(out), force=force)
    return result


def variants(knowledge: GeneKnowledge, shuffles: int, seed: int) -> Iterator[tuple[Variant, Any]]:
    """Every variant of the knowledge, None for none of it."""
    sources = knowledge.sources
    yield Variant("none"), None
    if len(sources) > 1:
        yield Variant("all"), knowledge
    for source in sources:
        yield Variant("only", source), knowledge.of([source])
    for source in sources if len(sources) > 1 else ():
        yield Variant("without", source), knowledge.of([s for s in sources if s != source])
    for source in sources:
        for draw in range(shuffles):
            yield Variant("shuffled", source, draw), shuffled(knowledge.of([source]), seed + draw)


def shuffled(knowledge: GeneKnowledge, seed: int) -> GeneKnowledge:
    """The same knowledge on other genes: rows of candidates, and of measured genes, permuted."""
    rng = np.random.default_rng([seed, 41])
    order_c = rng.permutation(len(knowledge.candidate_cd))
    order_g = rng.permutation(len(knowledge.measured_gd))
    return replace(
        knowledge,
        candidate_cd=knowledge.candidate_cd[order_c],
        measured_gd=knowledge.measured_gd[order_g],
        pair_ccp=knowledge.pair_ccp[order_c][:, order_c],
    )


def _answers(bench: _Bench, part: Part, method: str, shuffles: int) -> list[VariantAnswer]:
    x, kept = bench.expression_ng, bench.view.kept_g
    controls = control_means(x, part.screen)
    whole = only_genes(draw_queries(x, part.screen, part.train, k=None, controls=controls), kept)
    asked = draw_queries(
        x,
        part.screen,
        part.test,
        k=bench.k,
        most=bench.most,
        seed=bench.seed + 1,
        controls=controls,
    )
    asked = only_genes(asked, kept)
    names = np.array([part.screen.genes_named(c) for c in asked.condition_q.tolist()])
    strata = np.array([part.strata.get(n, -1) for n in names.tolist()], dtype=np.int64)
    out = []
    for variant, known in variants(bench.knowledge, shuffles, bench.seed):
        if method == LINEAR:
            effects = knowledge_effects(whole, part.screen, known).effects
            score_qc = gene_scores(asked.shift_qg, effects)
        else:
            score_qc = _network(bench, part, method, variant, known, asked)
        out.append(VariantAnswer(method, variant, score_qc, names, strata))
    return out


def _network(
    bench: _Bench,
    part: Part,
    method: str,
    variant: Variant,
    known: GeneKnowledge | None,
    asked: Queries,
) -> NDArray[np.float64]:
    """Trained anew with this knowledge; what it is given is checked against permuted labels."""
    settings = NetworkSettings(kind=method, k=bench.k, seed=bench.seed)  # type: ignore[arg-type]
    if bench.epochs is not None:
        settings = replace(settings, epochs=bench.epochs)
    kept = bench.view.kept_g
    cells = network_cells(bench.expression_ng, part.screen, part.train, kept_g=kept)
    # None of it is knowledge of no column, for networks that are built around it.
    given = bench.knowledge.of([]) if known is None else known
    if variant.name == "all" or (variant.name == "only" and len(bench.knowledge.sources) == 1):
        bench.checks[method] = check_network(
            bench.expression_ng, part.screen, part.train, (), cells, settings, given,
            kept_of=lambda _: kept, knowledge_of=bench.knowledge_of,
        )  # fmt: skip
    fitted = fit_network(cells, settings, given)
    return fitted.logits(asked.shift_qg, asked.mean_qg)


def _plain(spec: str) -> str:
    kind, _, rest = spec.partition(":")
    return f"{kind}:{Path(rest).name}" if rest else kind
