// Version of the interface between the compiled libraries and equipot/ops/library.py,
// which must define the same number: increment both when a schema or the meaning of an
// operand changes.
#define EQUIPOT_ABI 6
