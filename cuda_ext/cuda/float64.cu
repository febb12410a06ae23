// The convolution and its derivatives in float64.
#include "convolution.cuh"

template void equipot::convolve<double, false>(
    Direction, const Problem<double>&, const PathList&, void*);
