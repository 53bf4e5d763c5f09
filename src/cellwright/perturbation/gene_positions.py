"""Where genes lie: chromosome as one of 24 and the relative position on it, for every gene alike.

A published prototype gave its network the position of the *perturbed* gene, found through the
label. Here positions belong to genes, measured or candidate, and know nothing of cells.
"""

from __future__ import annotations

import gzip
import importlib
import importlib.util
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.gene_tables import read_gene_table, text_of
from cellwright.errors import DataError, MissingExtra, SettingsError

CHROMOSOMES = (*map(str, range(1, 23)), "X", "Y")
_LENGTHS: Mapping[str, tuple[int, ...]] = {
    "GRCh38": (
        248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636,
        138394717, 133797422, 135086622, 133275309, 114364328, 107043718, 101991189, 90338345,
        83257441, 80373285, 58617616, 64444167, 46709983, 50818468, 156040895, 57227415,
    ),
    "GRCh37": (
        249250621, 243199373, 198022430, 191154276, 180915260, 171115067, 159138663, 146364022,
        141213431, 135534747, 135006516, 133851895, 115169878, 107349540, 102531392, 90354753,
        81195210, 78077248, 59128983, 63025520, 48129895, 51304566, 155270560, 59373566,
    ),
}  # fmt: skip
BUILDS = tuple(_LENGTHS)
_COLUMNS = {
    "chromosome": ("chr", "chromosome", "chrom", "seqname", "chromosome_name", "contig"),
    "start": ("start", "gene_start", "start_position", "txstart"),
    "end": ("end", "gene_end", "end_position", "txend"),
}
_NAMES = ("ensgene", "gene_id", "ensembl_gene_id", "id", "symbol", "gene_name", "gene", "gene_symbol")  # fmt: skip
_RELEASE = "pyensembl:"
_ATTRIBUTE = re.compile(r'\b(gene_id|gene_name) "([^"]*)"')


@dataclass(frozen=True)
class GenePositions:
    """Positions of g genes.

    chromosome_g: one of :data:`CHROMOSOMES`, or "" for a gene that is mitochondrial, unplaced or
    not in the table; start_g, end_g: base pairs, NaN there; found_g: whether the table has it.
    """

    genes: tuple[str, ...]
    build: str
    chromosome_g: NDArray[np.str_]
    start_g: NDArray[np.float64]
    end_g: NDArray[np.float64]
    found_g: NDArray[np.bool_]

    @property
    def relative_g(self) -> NDArray[np.float64]:
        """Middle of the gene as a share of its chromosome, 0 to 1; 0 without a chromosome."""
        length = chromosome_lengths(self.build)
        whole_g = np.array([length.get(c, 1) for c in self.chromosome_g.tolist()], dtype=float)
        return np.nan_to_num((self.start_g + self.end_g) / 2 / whole_g)

    @property
    def features_gd(self) -> NDArray[np.float64]:
        """(g, 25): a bit for each of 24 chromosomes and the relative position; zero without one."""
        bits = self.chromosome_g[:, None] == np.array(CHROMOSOMES)
        return np.column_stack([bits.astype(np.float64), self.relative_g])

    def near(self, others: GenePositions, within: int) -> NDArray[np.bool_]:
        """Genes that lie at most ``within`` base pairs from one of the others, or overlap it; (g,)."""
        close = np.zeros(len(self.genes), dtype=bool)
        for chromosome, start, end in zip(
            others.chromosome_g.tolist(), others.start_g, others.end_g, strict=True
        ):
            if chromosome:
                gap = np.maximum(self.start_g - end, start - self.end_g)
                close |= (self.chromosome_g == chromosome) & (gap <= within)
        return close


def chromosome_lengths(build: str = "GRCh38") -> dict[str, int]:
    """Base pairs of the 24 chromosomes of a build of the human genome.

    Raises
    ------
    SettingsError
        For an unknown build; the nearest is named.
    """
    if build not in _LENGTHS:
        close = nearest(build, BUILDS)
        raise SettingsError(
            f"no genome build {build!r}: "
            + (f"did you mean {close!r}?" if close else f"known: {', '.join(BUILDS)}")
        )
    return dict(zip(CHROMOSOMES, _LENGTHS[build], strict=True))


def gene_positions(
    genes: Sequence[str], table: Path | str, *, build: str = "GRCh38"
) -> GenePositions:
    """Look genes up, by id or symbol, in a table of coordinates.

    Parameters
    ----------
    genes
        Measured or candidate genes, Ensembl ids (a version is left out) or symbols.
    table
        A GTF, or a table with a column of ids or symbols, and ``chr``, ``start`` and ``end``;
        plain or gzip; or ``pyensembl:75``, the GTF that pyensembl has installed of a release of
        Ensembl. Where a symbol stands several times, the first on a chromosome counts.
    build
        ``GRCh38`` or ``GRCh37``.

    Raises
    ------
    DataError
        If the table has no coordinates, a position is no number or lies beyond its chromosome
        (another build), or none of the genes is in it.
    SettingsError
        For an unknown build, or a release of another.
    MissingExtra
        For a release where pyensembl is not installed.
    """
    length = chromosome_lengths(build)
    path = _of_release(str(table), build) if str(table).startswith(_RELEASE) else Path(table)
    gtf = any(path.name.lower().endswith(end) for end in (".gtf", ".gtf.gz"))
    frame = _of_gtf(path) if gtf else _of_table(path)
    chromosome_r = frame["chromosome"].str.removeprefix("chr").to_numpy(dtype=str)
    chromosome_r = np.where(np.isin(chromosome_r, CHROMOSOMES), chromosome_r, "")
    start_r, end_r = (_numbers(frame[side], path) for side in ("start", "end"))
    whole_r = np.array([length.get(c, np.inf) for c in chromosome_r.tolist()])
    beyond = np.flatnonzero((end_r > whole_r) | ((chromosome_r != "") & (start_r < 1)))
    if len(beyond):
        row = beyond[0]
        raise DataError(
            f"{path} places {frame['names'].iloc[row][-1]} at {start_r[row]:.0f} to "
            f"{end_r[row]:.0f} on chromosome {chromosome_r[row]}, which has {whole_r[row]:.0f} "
            f"base pairs in {build}: the table is of another build; give one of {build}, or "
            f"{' or '.join(b for b in BUILDS if b != build)} as the build"
        )
    row_of: dict[str, int] = {}
    # Rows on a chromosome first: patches and scaffolds repeat the symbols of their genes.
    for row in np.argsort(chromosome_r == "", kind="stable").tolist():
        for name in frame["names"].iloc[row]:
            row_of.setdefault(name, row)
    row_g = np.array([row_of.get(g, row_of.get(g.split(".")[0], -1)) for g in genes], dtype=int)
    found_g = row_g >= 0
    if len(genes) and not found_g.any():
        raise DataError(
            f"none of the {len(genes)} genes ({', '.join(genes[:3])} …) is in {path} "
            f"({', '.join(list(row_of)[:3])} …); give a table of the same organism with their "
            "ids or symbols"
        )
    placed_g = found_g & (chromosome_r[row_g] != "")
    return GenePositions(
        tuple(genes),
        build,
        np.where(placed_g, chromosome_r[row_g], ""),
        np.where(placed_g, start_r[row_g], np.nan),
        np.where(placed_g, end_r[row_g], np.nan),
        found_g,
    )


def _of_release(named: str, build: str) -> Path:
    """The GTF of a release of Ensembl that pyensembl has downloaded; this never downloads."""
    if importlib.util.find_spec("pyensembl") is None:
        raise MissingExtra("pyensembl", "pyensembl", f"the gene table {named}")
    ensembl: Any = importlib.import_module("pyensembl")
    number = named.removeprefix(_RELEASE)
    try:
        release = ensembl.EnsemblRelease(int(number))
    except ValueError:
        raise SettingsError(
            f"there is no release {number!r} of human Ensembl; expected a number, as in "
            f"{_RELEASE}110"
        ) from None
    if release.reference_name != build:
        raise SettingsError(
            f"Ensembl release {number} is of {release.reference_name}, not {build}; give the build "
            f"{release.reference_name}, or a release of {build}"
        )
    path = next(Path(p) for p in release.required_local_files() if ".gtf" in Path(p).name)
    if not path.is_file():
        raise DataError(
            f"Ensembl release {number} is not on this machine; run 'pyensembl install --release "
            f"{number} --species human' once, or give a GTF"
        )
    return path


def _of_table(path: Path) -> pd.DataFrame:
    table = read_gene_table(path)
    by_lower = {c.lower(): c for c in reversed(table.columns.tolist())}
    chosen = {}
    for what, known in _COLUMNS.items():
        found = [by_lower[name] for name in known if name in by_lower]
        if not found:
            raise DataError(
                f"{path} has no column {known[0]!r} for the {what} of genes; its columns are "
                f"{', '.join(table.columns)}"
            )
        chosen[what] = text_of(table[found[0]])
    named = [by_lower[name] for name in _NAMES if name in by_lower] or [table.columns[0]]
    texts = [text_of(table[c]).tolist() for c in named]
    names = [tuple(n.split(".")[0] if n.startswith("ENS") else n for n in row if n) or ("?",) for row in zip(*texts, strict=True)]  # fmt: skip
    return pd.DataFrame({**chosen, "names": pd.Series(names, dtype=object)})


def _of_gtf(path: Path) -> pd.DataFrame:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8")
    except FileNotFoundError:
        raise DataError(f"no gene table at {path}") from None
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a GTF: {error}") from None
    rows = []
    for line in io.StringIO(text):
        fields = line.rstrip("\n").split("\t")
        if len(fields) >= 9 and fields[2] == "gene":
            given = dict(_ATTRIBUTE.findall(fields[8]))
            names = [given.get("gene_id", "").split(".")[0], given.get("gene_name", "")]
            rows.append((fields[0], fields[3], fields[4], tuple(n for n in names if n) or ("?",)))
    if not rows:
        raise DataError(f"{path} has no line whose third field is 'gene', which a GTF of genes has")
    return pd.DataFrame(rows, columns=["chromosome", "start", "end", "names"])


def _numbers(column: pd.Series, path: Path) -> NDArray[np.float64]:
    try:
        return column.to_numpy(dtype=np.float64)
    except ValueError:
        bad = next(v for v in column if not str(v).strip().isdigit())
        raise DataError(
            f"the column {column.name!r} of {path} holds {bad!r}, expected base pairs"
        ) from None
