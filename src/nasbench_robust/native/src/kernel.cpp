// The neural tangent kernel in eval mode: layer by layer backwards, the gradients of all images with respect to one
// layer's parameters are made, multiplied with each other and dropped.
//
// Batch normalisation is folded: y = scale * (W x) + shift with scale = gamma / s, shift = beta - mean * scale. Given
// d = df/dy, raw = sum over pixels of d * x is df/d(scale W), so that df/dW = scale * raw, df/dbeta = sum of d, and
// df/dgamma = (sum over the channel's weights of W * raw - mean * df/dbeta) / s.

#include <cmath>

#include "blocks.h"
#include "layers.h"
#include "tangents.h"

namespace engine {

namespace {

// Rows of the Jacobian's transpose: one per parameter of a layer, the images of all blocks along it.
struct Tangents {
  explicit Tangents(int n) : blocks(n) {}
  void begin(std::size_t count) {
    if (count > room) rows.resize((room = count) * blocks);
  }
  Vec* at(std::size_t row, int block) const { return rows.get() + row * blocks + block; }
  int blocks;
  std::size_t room = 0;
  Buffer rows;
};

// The rows of a convolution and of its batch normalisation, of one block; returns how many there are.
std::size_t convolution_tangents(const Convolution& c, const float* parameters, const float* statistics, const Vec* x,
                                 const Vec* output, Tangents& to, int block) {
  const std::size_t per_channel = c.weight_count() / c.outs, area = std::size_t(c.out_size()) * c.out_size();
  weight_tangents(c, x, output, to.at(0, block), to.blocks);
  if (!c.normalised) return c.weight_count();
  for (int o = 0; o < c.outs; ++o) {
    const float mean = statistics[c.statistics + o];
    const float inverse = 1.f / std::sqrt(statistics[c.statistics + c.outs + o] + kBnEps);
    const float scale = parameters[c.scale() + o] * inverse;
    Vec along = {}, total = {};
    for (std::size_t t = o * per_channel; t < (o + 1) * per_channel; ++t) {
      Vec& raw = *to.at(t, block);
      along += parameters[c.weights + t] * raw;
      raw *= scale;
    }
    for (std::size_t p = o * area; p < (o + 1) * area; ++p) total += output[p];
    *to.at(c.weight_count() + o, block) = (along - mean * total) * inverse;
    *to.at(c.weight_count() + c.outs + o, block) = total;
  }
  return c.weight_count() + 2 * c.outs;
}

}  // namespace

// The rows of the head, of one block: batch normalisation, then the linear layer; returns how many there are.
std::size_t Network::head_tangents(const Vec* cotangent, const Workspace& w, int block, Vec* rows,
                                   std::size_t stride) const {
  const int channels = plan.last_channels;
  const std::size_t area = plan.tensors[plan.last].area();
  const float* weights = &parameters[plan.linear];
  for (int c = 0; c < channels; ++c) {
    const float mean = statistics[plan.head_statistics + c];
    const float inverse = 1.f / std::sqrt(statistics[plan.head_statistics + channels + c] + kBnEps);
    Vec slope = {}, pooled = {}, scale = {}, shift = {};
    for (int k = 0; k < classes(); ++k) slope += weights[k * channels + c] * cotangent[k];
    slope *= 1.f / float(area);
    for (std::size_t p = 0; p < area; ++p) {
      const Vec x = w.value(plan.last, block)[c * area + p], y = x * head_scale_[c] + head_shift_[c];
      const Vec passed = y > Vec{} ? slope : Vec{};
      pooled += relu(y);
      scale += passed * ((x - mean) * inverse);
      shift += passed;
    }
    rows[c * stride] = scale;
    rows[(channels + c) * stride] = shift;
    for (int k = 0; k < classes(); ++k)
      rows[(2 * channels + k * channels + c) * stride] = cotangent[k] * pooled * (1.f / float(area));
  }
  for (int k = 0; k < classes(); ++k) rows[(2 * channels + classes() * channels + k) * stride] = cotangent[k];
  return 2 * channels + std::size_t(classes()) * (channels + 1);
}

void Network::tangent_kernel(const float* pixels, const float* cotangents, int count, double* kernel) {
  const int blocks = (count + kLanes - 1) / kLanes;
  const std::size_t head = 2 * plan.last_channels + std::size_t(classes()) * (plan.last_channels + 1);
  Workspace w(plan, blocks, 1);
  Tangents tangents(blocks);
  Gram gram(blocks);
  Buffer image(this->pixels()), logits(classes()), cotangent(classes()), scratch(scratch_length(plan));
  tangents.begin(head);
  for (int block = 0; block < blocks; ++block) {
    load_block(pixels, block * kLanes, count, this->pixels(), image.get());
    load_block(cotangents, block * kLanes, count, classes(), cotangent.get());
    pass_forward(image.get(), logits.get(), w, block, scratch.get());
    head_tangents(cotangent.get(), w, block, tangents.at(0, block), blocks);
  }
  for (int block = 0; block < blocks; ++block) {  // no sooner: gradients may lie where values lay
    load_block(cotangents, block * kLanes, count, classes(), cotangent.get());
    head_backward_folded(cotangent.get(), w, block);
  }
  gram.add(tangents.at(0, 0), head);
  for (auto s = plan.steps.rbegin(); s != plan.steps.rend(); ++s) {
    if (!s->reached) continue;
    if (s->kind == kConvolve) {
      const Convolution& c = plan.convolutions[s->convolution];
      std::size_t rows = 0;
      tangents.begin(c.weight_count() + 2 * c.outs);
      for (int block = 0; block < blocks; ++block)
        rows = convolution_tangents(c, parameters.data(), statistics.data(), w.value(s->source, block),
                                    w.gradient(s->target, block), tangents, block);
      gram.add(tangents.at(0, 0), rows);
    }
    if (!s->wants_gradient || s->source == 0) continue;  // the image's own gradient is not asked for
    for (int block = 0; block < blocks; ++block) step_backward_folded(*s, w, block, scratch.get());
  }
  for (int i = 0; i < count; ++i)
    for (int j = 0; j < count; ++j) kernel[std::size_t(i) * count + j] = gram.at(i, j);
}

}  // namespace engine
