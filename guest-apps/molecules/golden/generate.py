#!/usr/bin/env python3
"""Writes the golden files of this folder with RDKit and scikit-learn.

    python3 -m venv venv && venv/bin/pip install rdkit scikit-learn
    venv/bin/python generate.py DATA_FOLDER

DATA_FOLDER holds docking/ligands.csv and moldesign/QM9-search.tsv. SMILES of the data folder are
not copied: their rows are keyed by title or id.

known.tsv     name, SMILES, fingerprint of 256 bits and radius 4, digest of 2048 bits and radius 2
ligands.tsv   title, fingerprint of 256 bits and radius 4, digest of that of 2048 bits and radius 2
qm9.tsv       id, digest of 256 bits and radius 4, digest of 1024 bits and radius 3
neighbours.json  models of the known molecules, and what they predict

Fingerprints are in the FPS format; a digest is the first 16 hexadecimal digits of the SHA-256 of
that text. A SMILES that RDKit refuses has "-".
"""

import csv
import hashlib
import json
import pathlib
import sys

import numpy
import rdkit
import sklearn
from rdkit import Chem, DataStructs, RDLogger
from rdkit.Chem import rdFingerprintGenerator
from sklearn.neighbors import KNeighborsRegressor

HERE = pathlib.Path(__file__).parent
NOTE = f"# RDKit {rdkit.__version__}, scikit-learn {sklearn.__version__}; written by generate.py\n"

KNOWN = """
ethanol CCO
water O
methane C
explicit-methane [H]C([H])([H])[H]
heavy-water [2H]O[2H]
carbon-11 [11CH4]
carbon-13-ethane [13CH3]C
benzene c1ccccc1
kekule-benzene C1=CC=CC=C1
phenol Oc1ccccc1
pyridine C1=CC=NC=C1
pyrrole c1cc[nH]c1
furan c1ccoc1
thiophene c1ccsc1
imidazole c1c[nH]cn1
indole c1ccc2[nH]ccc2c1
naphthalene C1=CC2=CC=CC=C2C=C1
azulene c1cccc2cccc2c1
anthracene c1ccc2cc3ccccc3cc2c1
cyclohexane C1CCCCC1
cubane C12C3C4C1C5C2C3C45
adamantane C1C2CC3CC1CC(C2)C3
norbornane C1CC2CCC1C2
acetic-acid CC(=O)O
acetate CC(=O)[O-]
sodium-acetate CC(=O)[O-].[Na+]
glycine NCC(=O)O
zwitterion [NH3+]CC(=O)[O-]
alanine C[C@H](N)C(=O)O
trans-butene C/C=C/C
cis-butene C/C=C\\C
acetylene C#C
acetonitrile CC#N
azide CN=[N+]=[N-]
nitrobenzene c1ccccc1[N+](=O)[O-]
nitrobenzene-neutral c1ccccc1N(=O)=O
carbon-monoxide [C-]#[O+]
dmso CS(=O)C
sulfuric-acid OS(=O)(=O)O
phosphate OP(=O)(O)O
perchloric-acid OCl(=O)(=O)=O
chloroform ClC(Cl)Cl
bromobenzene Brc1ccccc1
iodomethane CI
trifluoroethanol OCC(F)(F)F
tetramethylsilane C[Si](C)(C)C
boronic-acid OB(O)c1ccccc1
selenophene c1cc[se]c1
urea NC(=O)N
guanidine NC(=N)N
tropylium c1ccc[cH+]cc1
cyclopentadienyl [cH-]1cccc1
pyridine-oxide [O-][n+]1ccccc1
porphine C1=CC2=CC3=CC=C(N3)C=C4C=CC(=N4)C=C5C=CC(=N5)C=C1N2
aspirin CC(=O)Oc1ccccc1C(=O)O
caffeine Cn1cnc2c1c(=O)n(C)c(=O)n2C
paracetamol CC(=O)Nc1ccc(O)cc1
ibuprofen CC(C)Cc1ccc(cc1)C(C)C(=O)O
imatinib Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1
testosterone C[C@]12CC[C@H]3[C@@H](CCC4=CC(=O)CC[C@@]34C)[C@@H]1CC[C@@H]2O
glucose OC[C@H]1OC(O)[C@H](O)[C@@H](O)[C@@H]1O
adenine Nc1ncnc2[nH]cnc12
guanine Nc1nc2[nH]cnc2c(=O)[nH]1
uracil O=c1cc[nH]c(=O)[nH]1
penicillin-g CC1(C)S[C@@H]2[C@H](NC(=O)Cc3ccccc3)C(=O)N2[C@H]1C(=O)O
ferrocene-salt [Fe+2].[cH-]1cccc1.[cH-]1cccc1
cisplatin N[Pt](N)(Cl)Cl
hydrogen [H][H]
proton [H+]
eicosane CCCCCCCCCCCCCCCCCCCC
open-ring C1CC
open-branch CC(C
five-bonds C(C)(C)(C)(C)C
no-aromatic c1cccc1
unknown-element CXz
"""


def molecule(smiles):
    return Chem.MolFromSmiles(smiles)


def hexadecimal(mol, bits, radius):
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=bits)
    return DataStructs.BitVectToFPSText(generator.GetFingerprint(mol))


def text(smiles, bits, radius):
    mol = molecule(smiles)
    return "-" if mol is None else hexadecimal(mol, bits, radius)


def digest(smiles, bits, radius):
    value = text(smiles, bits, radius)
    return value if value == "-" else hashlib.sha256(value.encode()).hexdigest()[:16]


def write(name, rows):
    lines = ["\t".join(row) + "\n" for row in rows]
    (HERE / name).write_text(NOTE + "".join(lines))


def neighbours(known):
    """Models on the even molecules, asked about all: exact matches and strangers."""
    molecules = [(name, smiles) for name, smiles in known if molecule(smiles) is not None]
    vectors = []
    for _, smiles in molecules:
        digits = bytes.fromhex(text(smiles, 256, 4))
        vectors.append(numpy.unpackbits(numpy.frombuffer(digits, numpy.uint8), bitorder="little"))
    vectors = numpy.array(vectors, dtype=bool)
    values = numpy.random.default_rng(5).normal(-7, 2, len(molecules)).round(3)
    learned = list(range(0, len(molecules), 2))
    models = []
    for count in (1, 4, 7):
        model = KNeighborsRegressor(
            n_neighbors=count, weights="distance", metric="jaccard", algorithm="brute"
        )
        model.fit(vectors[learned], values[learned])
        distances, _ = model.kneighbors(vectors, n_neighbors=count + 1)
        # Where the last neighbour and the first stranger are equally far, scikit-learn's choice
        # is arbitrary; and so is, among exact matches, which of them are asked.
        clear = distances[:, -1] > distances[:, -2]
        answers = model.predict(vectors)
        models.append(
            {
                "neighbours": count,
                "predictions": [
                    [molecules[index][0], float(answers[index])]
                    for index in range(len(molecules))
                    if clear[index]
                ],
            }
        )
    return {
        "learned": [[molecules[index][0], float(values[index])] for index in learned],
        "models": models,
    }


def main(data):
    RDLogger.DisableLog("rdApp.*")
    known = [line.split(" ", 1) for line in KNOWN.strip().splitlines()]
    write("known.tsv", [(n, s, text(s, 256, 4), digest(s, 2048, 2)) for n, s in known])
    with open(data / "docking/ligands.csv", newline="") as file:
        rows = [(row["TITLE"], row["SMILES"]) for row in csv.DictReader(file)]
    write("ligands.tsv", [(t, text(s, 256, 4), digest(s, 2048, 2)) for t, s in rows])
    with open(data / "moldesign/QM9-search.tsv", newline="") as file:
        rows = [(row["id"], row["smiles"]) for row in csv.DictReader(file, delimiter="\t")]
    write("qm9.tsv", [(i, digest(s, 256, 4), digest(s, 1024, 3)) for i, s in rows])
    lines = json.dumps(neighbours(known))
    (HERE / "neighbours.json").write_text(lines + "\n")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
