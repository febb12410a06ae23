"""Settings in files of MACE that change no prediction, and why."""

SHAPES = "follows from the shapes of the weights"
IRREPS = "follows from the irreps of the maps in it"
CODE = "generated code, never run"

WITHOUT_EFFECT: dict[str, dict[str, str]] = {
    "": {
        "__codegen__": CODE,
        "_optimize_einsums": CODE,
        "_specialized_code": CODE,
        "_profiling_str": "text about the module",
        "_prof_str": "text about the module",
    },
    "MACE": {
        "lammps_mliap": "says which program calls the model",
        "use_reduced_cg": "couplings are read from the file",
        "use_agnostic_product": "each product says it",
        "edge_irreps": IRREPS,
        "use_edge_irreps_first": IRREPS,
    },
    "TensorProduct": {"_in1_dim": SHAPES, "_in2_dim": SHAPES, "weight_numel": SHAPES},
    "FullyConnectedTensorProduct": {"_in1_dim": SHAPES, "_in2_dim": SHAPES},
    "NonLinearReadoutBlock": {"hidden_irreps": IRREPS},
    "Activation": {"irreps_in": SHAPES, "irreps_out": SHAPES},
    "reshape_irreps": {"dims": SHAPES, "muls": SHAPES},
    "RadialEmbeddingBlock": {"out_dim": SHAPES},
    "SphericalHarmonics": {"_is_range_lmax": "follows from the degrees"},
}
"""By class and name; those of the class ``""`` are of all classes."""
WITHOUT_EFFECT["ScaleShiftMACE"] = WITHOUT_EFFECT["MACE"]

OF_INTERACTIONS = {
    "node_attrs_irreps": IRREPS,
    "node_feats_irreps": IRREPS,
    "edge_attrs_irreps": IRREPS,
    "edge_feats_irreps": IRREPS,
    "target_irreps": IRREPS,
    "hidden_irreps": IRREPS,
    "edge_irreps": IRREPS,
    "irreps_out": IRREPS,
    "radial_MLP": SHAPES,
}
for _kind in ("", "Residual", "Density", "DensityResidual"):
    WITHOUT_EFFECT[f"RealAgnostic{_kind}InteractionBlock"] = OF_INTERACTIONS
