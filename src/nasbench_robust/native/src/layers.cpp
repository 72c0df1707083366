#include "layers.h"

#include "conv.h"
#include "winograd.h"

namespace engine {

void turn(const Convolution& c, const float* weights, float* turned) {
  const int taps = c.kernel * c.kernel;
  for (int o = 0; o < c.outs; ++o)
    for (int i = 0; i < c.ins; ++i)
      for (int t = 0; t < taps; ++t)
        turned[(i * c.outs + o) * taps + taps - 1 - t] = weights[(o * c.ins + i) * taps + t];
}

std::size_t prepared_count(const Convolution& c) {
  return is_winograd(c) ? std::size_t(kPoints) * c.ins * c.outs : c.weight_count();
}

void prepare(const Convolution& c, const float* weights, float* prepared) {
  if (is_winograd(c)) winograd_weights(weights, std::size_t(c.ins) * c.outs, prepared);
  else std::copy_n(weights, c.weight_count(), prepared);
}

std::size_t scratch_length(const Plan& plan) {
  std::size_t longest = 1;
  for (const Tensor& tensor : plan.tensors) longest = std::max(longest, tensor.area());
  for (const Convolution& c : plan.convolutions)
    if (is_winograd(c)) longest = std::max(longest, winograd_scratch(c.ins, c.outs));
  return longest;
}

void convolve(const Convolution& c, const Vec* x, const float* prepared, const float* bias, Vec* out, bool add,
              Vec* scratch) {
  if (c.kernel == 1) conv1x1(x, prepared, bias, out, c.ins, c.outs, c.size, add);
  else if (c.stride != 1) conv3x3_halving(x, prepared, bias, out, c.ins, c.outs, c.size, add);
  else if (is_winograd(c)) winograd3x3(x, prepared, bias, out, c.ins, c.outs, c.size, add, scratch);
  else conv3x3(x, prepared, bias, out, c.ins, c.outs, c.size, add);
}

void convolve_back(const Convolution& c, const Vec* output, const float* prepared, Vec* gradient, bool add,
                   Vec* scratch) {
  if (c.kernel == 1) conv1x1(output, prepared, nullptr, gradient, c.outs, c.ins, c.size, add);
  else if (c.stride != 1) conv3x3_halving_back(output, prepared, gradient, c.outs, c.ins, c.size, add);
  else if (is_winograd(c)) winograd3x3(output, prepared, nullptr, gradient, c.outs, c.ins, c.size, add, scratch);
  else conv3x3(output, prepared, nullptr, gradient, c.outs, c.ins, c.size, add);
}

void weight_gradient(const Convolution& c, const Vec* x, const Vec* output, float* gradient, int blocks, Team& team) {
  constexpr int kSide = kSums / 4;  // channels of a unit of work, and of a group of sums
  const int across = (c.ins + kSide - 1) / kSide, down = (c.outs + kSide - 1) / kSide;
  team.each(across * down, [&](int unit, int) {
    const Channels ins{unit % across * kSide, std::min(c.ins, (unit % across + 1) * kSide), c.ins};
    const Channels outs{unit / across * kSide, std::min(c.outs, (unit / across + 1) * kSide), c.outs};
    if (c.kernel == 1) conv1x1_weights(x, output, gradient, ins, outs, c.size, blocks);
    else if (c.stride == 1) conv3x3_weights<1>(x, output, gradient, ins, outs, c.size, blocks);
    else conv3x3_weights<2>(x, output, gradient, ins, outs, c.size, blocks);
  });
}

}  // namespace engine
