// Agreement between the compiled libraries and equipot/ops/library.py, which must name
// the same number: raise both when a schema or the meaning of an operand changes.
#define EQUIPOT_ABI 3
