// Instantiation of the double backward pass of the convolution for float32.
#include "convolution.cuh"

template void equipot::convolve<float, true>(
    Direction, const Problem<float>&, const PathList&, void*);
