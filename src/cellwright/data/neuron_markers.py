"""Human cortical neurons as the simulator knows them: subclasses, marker genes, gene programs.

Marker choice follows the human cortex taxonomies of Hodge et al. 2019 (doi:10.1038/s41586-019-1506-7)
and Siletti et al. 2023 (doi:10.1126/science.add7046); ids are Ensembl genes of GRCh38.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Subclass:
    """One kind of neuron.

    markers: symbols, the one that sets it apart from every other subclass first. alias: number
    of its first cluster. share: its share of cortical neurons before regions and libraries vary it.
    """

    name: str
    cell_class: str
    supercluster: str
    alias: int
    share: float
    markers: tuple[str, ...]


CLASS_MARKERS = {
    "excitatory": ("SLC17A7", "SATB2", "NRGN", "SV2B"),
    "inhibitory": ("GAD1", "GAD2", "SLC32A1", "DLX1"),
}

_UPPER = "Upper-layer intratelencephalic"
_DEEP = "Deep-layer intratelencephalic"
_NEAR = "Deep-layer near-projecting"
_CT = "Deep-layer corticothalamic and 6b"
_MGE = "MGE interneuron"
_CGE = "CGE interneuron"
_E, _I = "excitatory", "inhibitory"

SUBCLASSES = (
    Subclass("L2/3 IT", _E, _UPPER, 2401, 0.16, ("CUX2", "RASGRF2", "LINC00507")),
    Subclass("L4 IT", _E, _UPPER, 2451, 0.10, ("COBLL1", "RORB", "CUX1")),
    Subclass("L5 IT", _E, _DEEP, 2523, 0.13, ("IL1RAPL2", "RORB", "ADAMTSL1")),
    Subclass("L5 ET", _E, _DEEP, 2601, 0.04, ("POU3F1", "FEZF2", "BCL11B", "VAT1L", "ADRA1A")),
    Subclass("L5/6 NP", _E, _NEAR, 2631, 0.04, ("TSHZ2", "HTR2C", "FEZF2")),
    Subclass("L6 IT", _E, _DEEP, 2661, 0.07, ("THEMIS", "OPRK1", "NTNG2")),
    Subclass("L6 CT", _E, _CT, 2701, 0.06, ("FOXP2", "TLE4", "SYT6", "SEMA3E")),
    Subclass("L6b", _E, _CT, 2731, 0.04, ("CCN2", "NXPH4", "HS3ST4", "TLE4")),
    Subclass("Sst", _I, _MGE, 210, 0.10, ("SST", "LHX6", "SOX6", "NXPH1", "GRIK3")),
    Subclass("Pvalb", _I, _MGE, 241, 0.10, ("PVALB", "LHX6", "SOX6", "SULF1", "TAC1")),
    Subclass("Vip", _I, _CGE, 271, 0.08, ("VIP", "ADARB2", "CALB2", "TAC3", "PROX1")),
    Subclass("Lamp5", _I, _CGE, 301, 0.05, ("LAMP5", "ADARB2", "KIT", "RELN", "NDNF")),
    Subclass("Sncg", _I, _CGE, 331, 0.03, ("SNCG", "ADARB2", "CNR1", "CCK")),
)

REGIONS = ("Cerebral cortex", "Hippocampus", "Amygdala", "Cerebral nuclei")

PROGRAMS = {
    "activity": ("FOS", "JUN", "EGR1", "ARC", "NR4A1", "NPAS4", "FOSB", "JUNB"),
    "oxidative phosphorylation": (
        "ATP5F1E",
        "COX4I1",
        "NDUFA4",
        "UQCRB",
        "COX7C",
        "COX6C",
        "NDUFB1",
        "UQCRQ",
    ),
    "heat shock": ("HSPA1A", "HSPA1B", "HSP90AA1", "DNAJB1", "HSPH1", "HSPA8", "HSPB1", "HSPE1"),
    "synaptic vesicle": ("SNAP25", "SYT1", "STXBP1", "VAMP2", "CPLX1", "STX1A", "RAB3A", "SYP"),
    "translation": ("RPL3", "RPS3", "RPL10", "RPS6", "RPLP0", "EEF1A1", "RPL13", "TPT1"),
    "axon guidance": ("DSCAM", "CNTN5", "ROBO2", "SLIT2", "EPHA5", "CNTNAP2", "LRRC4C", "UNC5D"),
    "ion channels": ("KCNQ5", "KCNB2", "SCN1A", "SCN2A", "CACNA1A", "KCNC2", "KCND2", "HCN1"),
    "sterol synthesis": ("HMGCR", "LDLR", "SQLE", "INSIG1", "HMGCS1", "IDI1", "FDFT1", "MSMO1"),
}

ENSEMBL_IDS = {
    "SLC17A7": "ENSG00000104888",
    "SATB2": "ENSG00000119042",
    "GAD1": "ENSG00000128683",
    "GAD2": "ENSG00000136750",
    "NRGN": "ENSG00000154146",
    "SV2B": "ENSG00000185518",
    "SLC32A1": "ENSG00000101438",
    "DLX1": "ENSG00000144355",
    "CUX2": "ENSG00000111249",
    "COBLL1": "ENSG00000082438",
    "IL1RAPL2": "ENSG00000189108",
    "FEZF2": "ENSG00000153266",
    "TSHZ2": "ENSG00000182463",
    "THEMIS": "ENSG00000172673",
    "FOXP2": "ENSG00000128573",
    "CCN2": "ENSG00000118523",
    "SST": "ENSG00000157005",
    "PVALB": "ENSG00000100362",
    "VIP": "ENSG00000146469",
    "LAMP5": "ENSG00000125869",
    "SNCG": "ENSG00000173267",
    "LHX6": "ENSG00000106852",
    "ADARB2": "ENSG00000185736",
    "RORB": "ENSG00000198963",
    "TLE4": "ENSG00000106829",
    "HS3ST4": "ENSG00000182601",
    "SOX6": "ENSG00000110693",
    "RASGRF2": "ENSG00000113319",
    "CUX1": "ENSG00000257923",
    "ADAMTSL1": "ENSG00000178031",
    "POU3F1": "ENSG00000185668",
    "HTR2C": "ENSG00000147246",
    "OPRK1": "ENSG00000082556",
    "SYT6": "ENSG00000134207",
    "NXPH4": "ENSG00000182379",
    "NXPH1": "ENSG00000122584",
    "SULF1": "ENSG00000137573",
    "CALB2": "ENSG00000172137",
    "KIT": "ENSG00000157404",
    "CNR1": "ENSG00000118432",
    "LINC00507": "ENSG00000256193",
    "BCL11B": "ENSG00000127152",
    "VAT1L": "ENSG00000171724",
    "NTNG2": "ENSG00000196358",
    "GRIK3": "ENSG00000163873",
    "TAC1": "ENSG00000006128",
    "TAC3": "ENSG00000166863",
    "PROX1": "ENSG00000117707",
    "RELN": "ENSG00000189056",
    "NDNF": "ENSG00000173376",
    "CCK": "ENSG00000187094",
    "ADRA1A": "ENSG00000120907",
    "SEMA3E": "ENSG00000170381",
    "FOS": "ENSG00000170345",
    "JUN": "ENSG00000177606",
    "EGR1": "ENSG00000120738",
    "ARC": "ENSG00000198576",
    "NR4A1": "ENSG00000123358",
    "NPAS4": "ENSG00000174576",
    "FOSB": "ENSG00000125740",
    "JUNB": "ENSG00000171223",
    "ATP5F1E": "ENSG00000124172",
    "COX4I1": "ENSG00000131143",
    "NDUFA4": "ENSG00000189043",
    "UQCRB": "ENSG00000156467",
    "COX7C": "ENSG00000127184",
    "COX6C": "ENSG00000164919",
    "NDUFB1": "ENSG00000183648",
    "UQCRQ": "ENSG00000164405",
    "HSPA1A": "ENSG00000204389",
    "HSPA1B": "ENSG00000204388",
    "HSP90AA1": "ENSG00000080824",
    "DNAJB1": "ENSG00000132002",
    "HSPH1": "ENSG00000120694",
    "HSPA8": "ENSG00000109971",
    "HSPB1": "ENSG00000106211",
    "HSPE1": "ENSG00000115541",
    "SNAP25": "ENSG00000132639",
    "SYT1": "ENSG00000067715",
    "STXBP1": "ENSG00000136854",
    "VAMP2": "ENSG00000220205",
    "CPLX1": "ENSG00000168993",
    "STX1A": "ENSG00000106089",
    "RAB3A": "ENSG00000105649",
    "SYP": "ENSG00000102003",
    "RPL3": "ENSG00000100316",
    "RPS3": "ENSG00000149273",
    "RPL10": "ENSG00000147403",
    "RPS6": "ENSG00000137154",
    "RPLP0": "ENSG00000089157",
    "EEF1A1": "ENSG00000156508",
    "RPL13": "ENSG00000167526",
    "TPT1": "ENSG00000133112",
    "DSCAM": "ENSG00000171587",
    "CNTN5": "ENSG00000149972",
    "ROBO2": "ENSG00000185008",
    "SLIT2": "ENSG00000145147",
    "EPHA5": "ENSG00000145242",
    "CNTNAP2": "ENSG00000174469",
    "LRRC4C": "ENSG00000148948",
    "UNC5D": "ENSG00000156687",
    "KCNQ5": "ENSG00000185760",
    "KCNB2": "ENSG00000182674",
    "SCN1A": "ENSG00000144285",
    "SCN2A": "ENSG00000136531",
    "CACNA1A": "ENSG00000141837",
    "KCNC2": "ENSG00000166006",
    "KCND2": "ENSG00000184408",
    "HCN1": "ENSG00000164588",
    "HMGCR": "ENSG00000113161",
    "LDLR": "ENSG00000130164",
    "SQLE": "ENSG00000104549",
    "INSIG1": "ENSG00000186480",
    "HMGCS1": "ENSG00000112972",
    "IDI1": "ENSG00000067064",
    "FDFT1": "ENSG00000079459",
    "MSMO1": "ENSG00000052802",
}
