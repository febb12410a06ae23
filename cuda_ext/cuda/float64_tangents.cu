// The derivatives of the convolution's derivatives in float64.
#include "convolution.cuh"

template void equipot::convolve<double, true>(
    Direction, const Problem<double>&, const PathList&, void*);
