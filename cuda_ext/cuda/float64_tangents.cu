// Instantiation of the double backward pass of the convolution for float64.
#include "convolution.cuh"

template void equipot::convolve<double, true>(
    Direction, const Problem<double>&, const PathList&, void*);
