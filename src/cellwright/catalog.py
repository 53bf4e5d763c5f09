"""Name -> class, nothing else: what --rep, --tokenizer and the benchmark can name."""

from __future__ import annotations

from cellwright.evaluation.annotation import Annotation
from cellwright.evaluation.clustering import ClusterAgreement
from cellwright.evaluation.disease_state import DiseaseState
from cellwright.interfaces import Representation, Task, Tokenizer
from cellwright.representations.hvg import HighlyVariableGenes
from cellwright.representations.pca import PrincipalComponents
from cellwright.representations.technical import Batch, Depth, DepthAndBatch
from cellwright.tokens.binned import BinnedTokenizer
from cellwright.tokens.cell_binned import CellBinnedTokenizer
from cellwright.tokens.ranked import RankedTokenizer

TOKENIZERS: dict[str, type[Tokenizer]] = {
    BinnedTokenizer.name: BinnedTokenizer,
    CellBinnedTokenizer.name: CellBinnedTokenizer,
    RankedTokenizer.name: RankedTokenizer,
}
REPRESENTATIONS: dict[str, type[Representation]] = {
    HighlyVariableGenes.name: HighlyVariableGenes,
    PrincipalComponents.name: PrincipalComponents,
    Depth.name: Depth,
    Batch.name: Batch,
    DepthAndBatch.name: DepthAndBatch,
}
TASKS: dict[str, type[Task]] = {
    Annotation.name: Annotation,
    ClusterAgreement.name: ClusterAgreement,
    DiseaseState.name: DiseaseState,
}
