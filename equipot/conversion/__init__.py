"""Models of other packages, read without running anything of their files.

A conversion has four steps, each with its own module:

1. Read the file: `torch_archive` (``torch.save``) or `array_stream` (``.nqx``). Nothing
   of a file is imported or called: what a pickle names is an inert record.
2. Account for it: `accounting`. Every tensor and every setting is used, or declared
   without effect with a reason; anything else is an error that names it.
3. Map it: a module of `sources` returns `Converted`: a section of the configuration,
   statistics, weights in float64 by the names of equipot, and the origin.
4. Build, check and save it: `convert` and `check`, the same for all sources.

To add a source:

1. A module in `equipot/conversion/sources/`, named after the package, with a function
   ``read(path, head) -> Converted`` and a `Source` that holds it. It imports
   neither the package nor anything that unpickles.
2. Its line in `equipot.conversion.sources.SOURCES`.
3. Tests in ``tests/conversion/``: small random files that the test writes, every flag
   with an unknown value, a tensor too many, a tensor too few.

::

    def read(path: Path, head: str | None) -> Converted:
        archive = read_torch_archive(path)
        model = archive.root  # a Record
        tensors = SourceTensors(module_tensors(model))
        flags = Flags(model.attributes(), model.kind)
        flags.expect("apply_cutoff", True, default=True)  # another value is refused
        flags.without_effect("lammps_mliap", "says which program calls the model")
        weights = {"head.0.weight": tensors.take("readouts.0.linear.weight") / 8**0.5}
        lines = (*tensors.finish(), *flags.finish())  # nothing is left over
        origin = ModelOrigin(
            package="mace-torch", architecture=model.kind, files=hashes(path),
            dtype=tensors.dtype, without_effect=lines, remarks=(),
        )
        config = MACEConfig(cutoff=cutoff, ...)
        return assembled(config, weights, origin, energies, scale=..., neighbors=...)

Elements are in ascending order of atomic number in equipot; `rows_by_atomic_number`
gives the rows of a table of the file in this order. A source folds normalizations of
its package into the weights, in float64.
"""
