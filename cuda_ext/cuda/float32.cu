// The convolution and its derivatives in float32.
#include "convolution.cuh"

template void equipot::convolve<float, false>(
    Direction, const Problem<float>&, const PathList&, void*);
