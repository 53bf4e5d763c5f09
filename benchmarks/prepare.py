"""Preparing an atlas, timed beside the plain ways: ``python benchmarks/prepare.py``.

On simulated files of 300,000 and 100,000 cells × 30,000 genes, about 1,300 nonzero genes per cell,
gzip as atlases are (``--dir`` keeps them; about 7 GB). Every job runs in a process of its own and
reports its own seconds, without the start of Python, and its peak memory. Prints

- ``inspect``: seconds and memory of the whole command;
- the floor: reading and inflating every chunk once with h5py;
- crop to 2,000 genes of a tenth of the cells, as a ratio to the floor;
- subset of a scattered tenth of the cells with all genes, as a ratio to anndata ``backed="r"``,
  the better of two ways to write the same subset;
- memory of both for matrices stored by cell, by gene and dense, at both sizes, and of loading whole;
- ``cellwright map`` on three million rows.

Repeats alternate, and the medians make the ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from simulated_atlas import write_atlas, write_by_gene, write_dense

HERE = Path(__file__).resolve().parent
MB = 1e6

# What a child process runs; ``time`` is what counts, imports and a compiled warm-up left out.
JOB = """
import json, sys, time, warnings
warnings.simplefilter("ignore")
source, out, warm = sys.argv[1:]
{setup}
start = time.perf_counter()
{work}
seconds = time.perf_counter() - start
peak = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(json.dumps({{"seconds": seconds, "mb": int(peak[0].split()[1]) * 1024 / 1e6}}))
"""

JOBS = {
    "floor": (
        "import h5py",
        """
with h5py.File(source) as file:
    for part in ("data", "indices"):
        node = file["X"][part]
        step = 64 * node.chunks[0]
        for at in range(0, node.shape[0], step):
            node[at : at + step]
""",
    ),
    "crop": (
        "import h5py\n"
        "from cellwright.data.prepare.crop import crop\n"
        "n = h5py.File(source)['obs/sampled/codes'].shape[0]\n"
        "crop(warm, out, cells=10, genes=10, force=True)",
        "crop(source, out, cells=n // 10, genes=2000, force=True)",
    ),
    "subset": (
        "from cellwright.data.prepare.subset import subset\n"
        "subset(warm, out, where={'sampled': ['yes']}, force=True)",
        "subset(source, out, where={'sampled': ['yes']}, force=True)",
    ),
    "anndata, subset and write": (
        "import anndata",
        "cells = anndata.read_h5ad(source, backed='r')\n"
        "cells[(cells.obs['sampled'] == 'yes').to_numpy()]"
        ".write_h5ad(out, compression='gzip')",
    ),
    "anndata, to memory and write": (
        "import anndata",
        "cells = anndata.read_h5ad(source, backed='r')\n"
        "cells[(cells.obs['sampled'] == 'yes').to_numpy()].to_memory()"
        ".write_h5ad(out, compression='gzip')",
    ),
    "anndata, whole": (
        "import anndata",
        "cells = anndata.read_h5ad(source)\n"
        "cells[(cells.obs['sampled'] == 'yes').to_numpy()].copy()",
    ),
}


def measure(job: str, source: Path, out: Path, warm: Path) -> dict[str, float]:
    """Seconds and peak memory in MB of one job in a process of its own."""
    setup, work = JOBS[job]
    done = subprocess.run(
        [sys.executable, "-c", JOB.format(setup=setup, work=work), source, out, warm],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def repeat(jobs: list[str], times: int, *where: Path) -> dict[str, dict[str, float]]:
    """Each job so many times, in turn: median seconds and most memory."""
    found: dict[str, list[dict[str, float]]] = {job: [] for job in jobs}
    for _ in range(times):
        for job in jobs:
            found[job].append(measure(job, *where))
    return {
        job: {
            "seconds": statistics.median(one["seconds"] for one in runs),
            "mb": max(one["mb"] for one in runs),
        }
        for job, runs in found.items()
    }


def inspect(source: Path) -> None:
    """The command as a user types it."""
    script = (
        "import sys, time; start = time.perf_counter()\n"
        "from cellwright.cli.main import main\n"
        "sys.argv = ['cellwright', 'inspect', sys.argv[1], '--json']\n"
        "main_error = None\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "peak = [line for line in open('/proc/self/status') if line.startswith('VmHWM')]\n"
        "print(time.perf_counter() - start, int(peak[0].split()[1]) * 1024 / 1e6)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, source], check=True, capture_output=True, text=True
    )
    seconds, mb = map(float, done.stdout.splitlines()[-1].split())
    print(f"inspect: {seconds:.2f} s (bound 5), {mb:.0f} MB (bound 300)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[300_000, 100_000])
    parser.add_argument("--genes", type=int, default=30_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--dir", type=Path, help="where to keep the simulated files")
    parser.add_argument("--map-rows", type=int, default=3_000_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.dir) as scratch:
        folder = asked.dir or Path(scratch)
        out, warm = Path(scratch, "out.h5ad"), Path(scratch, "warm.h5ad")
        write_atlas(warm, 2000, 500)
        files = {}
        for n in asked.cells:
            files[n] = {kind: folder / f"{n}_{kind}.h5ad" for kind in ("csr", "csc", "dense")}
            by_cell = files[n]["csr"]
            for kind, path in files[n].items():
                if not path.exists():
                    print(f"writing {path.name}", flush=True)
                    if kind == "csr":
                        write_atlas(path, n, asked.genes)
                    else:
                        (write_by_gene if kind == "csc" else write_dense)(by_cell, path)
        biggest = files[max(asked.cells)]["csr"]
        inspect(biggest)
        both = [job for job in JOBS if job != "anndata, whole"]
        found = repeat(both, asked.repeats, biggest, out, warm)
        for job, one in found.items():
            print(f"{job}: {one['seconds']:.2f} s, {one['mb']:.0f} MB")
        ratio = found["crop"]["seconds"] / found["floor"]["seconds"]
        print(f"crop / floor: {ratio:.2f} (bound 1.5)")
        peer = min(found[job]["seconds"] for job in both if job.startswith("anndata"))
        print(
            f"subset / the better of anndata's: {found['subset']['seconds'] / peer:.2f} (bound 1)"
        )
        for n, kinds in files.items():
            for kind, path in kinds.items():
                told = [
                    f"{job} {measure(job, path, out, warm)['mb']:.0f} MB"
                    for job in ("crop", "subset")
                ]
                if kind == "dense":
                    whole = f"loading whole needs {n * asked.genes * 4 / MB:,.0f} MB for X alone"
                else:
                    whole = (
                        f"loading whole {measure('anndata, whole', path, out, warm)['mb']:,.0f} MB"
                    )
                print(f"{n:,} cells, {kind}: {', '.join(told)} (bound 700); {whole}", flush=True)
    subprocess.run(
        [sys.executable, HERE / "atlas_map.py", "--rows", str(asked.map_rows)], check=True
    )


if __name__ == "__main__":
    main()
