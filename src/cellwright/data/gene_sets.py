"""A set of genes as a user names it: a text file, one set of a GMT file, or names with commas."""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path

from cellwright.config import nearest
from cellwright.data.prepare.gene_list import read_gene_list
from cellwright.errors import DataError, SettingsError


@dataclass(frozen=True)
class GeneSet:
    """A set by name, and the genes as they are listed, each once."""

    name: str
    genes: tuple[str, ...]


def read_gene_set(given: str, option: str = "--genes") -> GeneSet:
    """The set that a user names.

    Parameters
    ----------
    given
        The path of a text file (one gene a line), ``FILE.gmt:SET`` or ``FILE.gmt.gz:SET`` (a GMT
        file with one set needs no name), or gene names with commas between them.
    option
        What the user typed it after, for messages.

    Raises
    ------
    DataError
        If the file is missing, no GMT, or holds no such set (the nearest is named).
    SettingsError
        If nothing is named.
    """
    path, _, name = given.partition(":")
    if path.lower().endswith((".gmt", ".gmt.gz")):
        return _from_gmt(Path(path), name)
    if "," not in given and (Path(given).is_file() or "/" in given or given.endswith(".txt")):
        return GeneSet(Path(given).stem, tuple(dict.fromkeys(read_gene_list(given))))
    genes = tuple(dict.fromkeys(part.strip() for part in given.split(",") if part.strip()))
    if not genes:
        raise SettingsError(
            f"{option} {given!r} names no gene; expected a file, FILE.gmt:SET, or names with commas"
        )
    return GeneSet(option.lstrip("-"), genes)


def read_gmt(path: Path | str) -> dict[str, tuple[str, ...]]:
    """Every set of a GMT file (plain or gzip): name, description, then genes, between tabs.

    Raises
    ------
    DataError
        If it cannot be read, or a line is no set.
    """
    path = Path(path)
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no GMT file at {path}; check the path") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a GMT file: {error}") from error
    sets: dict[str, tuple[str, ...]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        fields = [field.strip() for field in line.split("\t")]
        # Some tables give a weight after a comma.
        genes = tuple(dict.fromkeys(f.split(",")[0] for f in fields[2:] if f))
        if not fields[0] or not genes:
            raise DataError(
                f"line {number} of {path} is no gene set: expected name, description and genes "
                f"between tabs, found {line[:60]!r}"
            )
        sets[fields[0]] = genes
    if not sets:
        raise DataError(f"{path} holds no gene set")
    return sets


def _from_gmt(path: Path, name: str) -> GeneSet:
    sets = read_gmt(path)
    if not name:
        if len(sets) == 1:
            only = next(iter(sets))
            return GeneSet(only, sets[only])
        raise SettingsError(
            f"{path} holds {len(sets):,} sets; say which, as in {path}:{next(iter(sets))!r}"
        )
    if name not in sets:
        inside = [known for known in sets if name.lower() in known.lower()]
        close = inside[0] if inside else nearest(name, sets)
        raise DataError(
            f"{path} holds no set {name!r}: "
            + (f"did you mean {close!r}?" if close else f"it holds {', '.join(list(sets)[:3])} …")
        )
    return GeneSet(name, sets[name])
