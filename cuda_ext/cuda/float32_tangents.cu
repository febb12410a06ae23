// The derivatives of the convolution's derivatives in float32.
#include "convolution.cuh"

template void equipot::convolve<float, true>(
    Direction, const Problem<float>&, const PathList&, void*);
