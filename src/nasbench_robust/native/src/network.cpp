#include "network.h"

#include <cmath>

#include "layers.h"
#include "pool.h"

namespace engine {

Network::Network(const Shape& shape, const Cell& cell, const float* mean, const float* deviation)
    : plan(shape, cell),
      parameters(plan.parameters),
      gradient(plan.parameters),
      momentum(plan.parameters),
      statistics(plan.statistics),
      folded_(plan.convolutions.size()),
      head_scale_(plan.last_channels),
      head_shift_(plan.last_channels) {
  for (int c = 0; c < shape.input_channels; ++c) {
    mean_.push_back(mean[c]);
    inverse_deviation_.push_back(1.f / deviation[c]);
  }
  for (std::size_t i = 0; i < plan.convolutions.size(); ++i) {
    const Convolution& c = plan.convolutions[i];
    folded_[i].weights.resize(prepared_count(c));
    folded_[i].turned.resize(prepared_count(c));
    folded_[i].bias.assign(c.outs, 0.f);
  }
}

void Network::fold() {
  std::vector<float> scaled, turned;
  for (std::size_t n = 0; n < plan.convolutions.size(); ++n) {
    const Convolution& c = plan.convolutions[n];
    Folded& folded = folded_[n];
    const std::size_t per_channel = c.weight_count() / c.outs;
    scaled.resize(c.weight_count());
    turned.resize(c.weight_count());
    for (int o = 0; o < c.outs; ++o) {
      float scale = 1.f;
      if (c.normalised) {
        scale = parameters[c.scale() + o] / std::sqrt(statistics[c.statistics + c.outs + o] + kBnEps);
        folded.bias[o] = parameters[c.shift() + o] - statistics[c.statistics + o] * scale;
      }
      for (std::size_t t = o * per_channel; t < (o + 1) * per_channel; ++t)
        scaled[t] = parameters[c.weights + t] * scale;
    }
    turn(c, scaled.data(), turned.data());
    prepare(c, scaled.data(), folded.weights.data());
    prepare(c, turned.data(), folded.turned.data());
  }
  for (int c = 0; c < plan.last_channels; ++c) {
    const float variance = statistics[plan.head_statistics + plan.last_channels + c];
    head_scale_[c] = parameters[plan.head_scale + c] / std::sqrt(variance + kBnEps);
    head_shift_[c] = parameters[plan.head_scale + plan.last_channels + c] -
                     statistics[plan.head_statistics + c] * head_scale_[c];
  }
}

void Network::normalise(const Vec* images, Vec* out) const {
  const std::size_t area = plan.tensors[0].area();
  for (int c = 0; c < plan.shape.input_channels; ++c)
    for (std::size_t p = c * area; p < (c + 1) * area; ++p) out[p] = (images[p] - mean_[c]) * inverse_deviation_[c];
}

// All steps but convolutions are the same in eval and train mode.
void Network::step_forward(const Step& s, Workspace& w, int block, Vec* scratch) const {
  const Tensor& tensor = plan.tensors[s.source];
  const Vec* x = w.value(s.source, block);
  Vec* out = w.value(s.target, block);
  switch (s.kind) {
    case kRelu:
      for (std::size_t i = 0; i < tensor.length(); ++i) out[i] = relu(x[i]);
      break;
    case kAdd:
      for (std::size_t i = 0; i < tensor.length(); ++i) out[i] = s.first ? x[i] : out[i] + x[i];
      break;
    case kPool:
      pool3x3(x, out, tensor.channels, tensor.size, !s.first, scratch);
      break;
    case kHalve:
      pool2x2(x, out, tensor.channels, tensor.size);
      break;
    case kConvolve:
      break;
  }
}

void Network::step_backward(const Step& s, Workspace& w, int block, Vec* scratch) const {
  const Tensor& tensor = plan.tensors[s.source];
  const Vec* output = w.gradient(s.target, block);
  Vec* gradient = w.gradient(s.source, block);
  const bool add = !s.first_gradient;
  switch (s.kind) {
    case kRelu: {
      const Vec* rectified = w.value(s.target, block);
      for (std::size_t i = 0; i < tensor.length(); ++i) {
        const Vec passed = rectified[i] > Vec{} ? output[i] : Vec{};
        gradient[i] = add ? gradient[i] + passed : passed;
      }
      break;
    }
    case kAdd:
      for (std::size_t i = 0; i < tensor.length(); ++i) gradient[i] = add ? gradient[i] + output[i] : output[i];
      break;
    case kPool:
      pool3x3_back(output, gradient, tensor.channels, tensor.size, add, scratch);
      break;
    case kHalve:
      pool2x2_back(output, gradient, tensor.channels, tensor.size, add);
      break;
    case kConvolve:
      break;
  }
}

void Network::get_ready(const Team& team) {
  while (int(passes_.size()) < team.size()) passes_.push_back(std::make_unique<Passes>(*this));
}

Passes::Passes(const Network& network)
    : network_(network), work_(network.plan, 1, 1), scratch_(scratch_length(network.plan)) {}

void Passes::forward(const Vec* images, Vec* logits) { network_.pass_forward(images, logits, work_, 0, scratch_.get()); }

void Passes::backward(const Vec* logit_gradient, Vec* image_gradient) {
  network_.pass_backward(logit_gradient, image_gradient, work_, scratch_.get());
}

void Network::pass_forward(const Vec* images, Vec* logits, Workspace& w, int block, Vec* scratch) const {
  normalise(images, w.value(0, block));
  for (const Step& s : plan.steps) {
    if (s.kind != kConvolve) {
      step_forward(s, w, block, scratch);
      continue;
    }
    const Folded& folded = folded_[s.convolution];
    convolve(plan.convolutions[s.convolution], w.value(s.source, block), folded.weights.data(), folded.bias.data(),
             w.value(s.target, block), !s.first, scratch);
  }
  const std::size_t area = plan.tensors[plan.last].area();
  const Vec* x = w.value(plan.last, block);
  const float* weights = &parameters[plan.linear];
  for (int k = 0; k < classes(); ++k) logits[k] = all(weights[std::size_t(classes()) * plan.last_channels + k]);
  for (int c = 0; c < plan.last_channels; ++c) {
    Vec mean = {};
    for (std::size_t p = 0; p < area; ++p) mean += relu(x[c * area + p] * head_scale_[c] + head_shift_[c]);
    mean *= 1.f / float(area);
    for (int k = 0; k < classes(); ++k) logits[k] += weights[k * plan.last_channels + c] * mean;
  }
}

void Network::pass_backward(const Vec* logit_gradient, Vec* image_gradient, Workspace& w, Vec* scratch) const {
  head_backward_folded(logit_gradient, w, 0);
  for (auto s = plan.steps.rbegin(); s != plan.steps.rend(); ++s)
    if (s->wants_gradient) step_backward_folded(*s, w, 0, scratch);
  const std::size_t pixels_per_channel = plan.tensors[0].area();
  for (int c = 0; c < plan.shape.input_channels; ++c)
    for (std::size_t p = c * pixels_per_channel; p < (c + 1) * pixels_per_channel; ++p)
      image_gradient[p] = w.gradient(0)[p] * inverse_deviation_[c];
}

void Network::head_backward_folded(const Vec* logit_gradient, Workspace& w, int block) const {
  const std::size_t area = plan.tensors[plan.last].area();
  const Vec* x = w.value(plan.last, block);
  Vec* gradient = w.gradient(plan.last, block);
  const float* weights = &parameters[plan.linear];
  for (int c = 0; c < plan.last_channels; ++c) {
    Vec mean = {};
    for (int k = 0; k < classes(); ++k) mean += weights[k * plan.last_channels + c] * logit_gradient[k];
    mean *= head_scale_[c] / float(area);
    for (std::size_t p = c * area; p < (c + 1) * area; ++p)
      gradient[p] = x[p] * head_scale_[c] + head_shift_[c] > Vec{} ? mean : Vec{};
  }
}

void Network::step_backward_folded(const Step& s, Workspace& w, int block, Vec* scratch) const {
  if (s.kind != kConvolve) return step_backward(s, w, block, scratch);
  convolve_back(plan.convolutions[s.convolution], w.gradient(s.target, block), folded_[s.convolution].turned.data(),
                w.gradient(s.source, block), !s.first_gradient, scratch);
}

}  // namespace engine
