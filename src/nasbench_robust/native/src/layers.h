// Convolutions of any kind that a plan has; the kernels behind them are compiled once, here.
#pragma once

#include "parallel.h"
#include "plan.h"
#include "vec.h"

namespace engine {

// The weights of the convolution's transpose: channels swapped, kernel turned around.
void turn(const Convolution& c, const float* weights, float* turned);
// Weights as `convolve` wants them, or what `turn` made of them as `convolve_back` does; and how many floats they take.
void prepare(const Convolution& c, const float* weights, float* prepared);
std::size_t prepared_count(const Convolution& c);
// Vecs of scratch that are enough for every step of a plan: of a convolution, or a plane to pool in.
std::size_t scratch_length(const Plan& plan);
// out (+)= bias + convolution of one block; bias may be null.
void convolve(const Convolution& c, const Vec* x, const float* prepared, const float* bias, Vec* out, bool add,
              Vec* scratch);
// gradient (+)= that with respect to the input of one block, given that of the output.
void convolve_back(const Convolution& c, const Vec* output, const float* prepared, Vec* gradient, bool add,
                   Vec* scratch);
// gradient = that with respect to the weights, summed over blocks.
void weight_gradient(const Convolution& c, const Vec* x, const Vec* output, float* gradient, int blocks, Team& team);

}  // namespace engine
