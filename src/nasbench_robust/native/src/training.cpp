// The training step: forwards and backwards with the batch's own statistics, then SGD.

#include <array>
#include <cmath>

#include "layers.h"
#include "network.h"
#include "objectives.h"
#include "sums.h"

namespace engine {

constexpr float kBnMomentum = 0.1f;

Batch::Batch(const Plan& plan, int blocks, int threads)
    : work(plan, blocks, blocks), convolved(plan.steps.size()), mean(plan.steps.size()), inverse(plan.steps.size()) {
  std::size_t longest = plan.tensors[plan.last].length(), weights = 0, most_prepared = 0;
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    if (plan.steps[i].kind != kConvolve) continue;
    const Convolution& c = plan.convolutions[plan.steps[i].convolution];
    const std::size_t length = std::size_t(c.outs) * c.out_size() * c.out_size();
    longest = std::max(longest, length);
    weights = std::max(weights, c.weight_count());
    most_prepared = std::max(most_prepared, prepared_count(c));
    if (!c.normalised) continue;
    convolved[i].resize(length * blocks);
    mean[i].resize(c.outs);
    inverse[i].resize(c.outs);
  }
  slopes.resize(longest * blocks);
  turned.resize(weights);
  prepared.resize(most_prepared);
  for (int thread = 0; thread < threads; ++thread) scratch.emplace_back(scratch_length(plan));
  lanes.resize(blocks);
  head.resize(plan.last_channels);
  pooled.resize(std::size_t(plan.last_channels) * blocks);
  logits.resize(plan.shape.classes);
  logit_slopes.resize(std::size_t(plan.shape.classes) * blocks);
}

namespace {

// One channel of all blocks of a batch, as batch normalisation sees it.
struct Channel {
  Vec* data;
  std::size_t stride, area;  // from one block to the next; pixels
  int blocks;
  template <class F>
  void each(F f) const {
    for (int block = 0; block < blocks; ++block)
      for (std::size_t p = 0; p < area; ++p) f(block, data[block * stride + p], block * stride + p);
  }
  // The sums that f adds to, over all lanes.
  template <int N, class F>
  std::array<double, N> sums(F f) const {
    Vec parts[N] = {};
    std::array<double, N> wholes = {};
    const auto add = [&](int block, std::size_t begin, std::size_t end) {
      for (std::size_t p = begin; p < end; ++p) f(block, data[block * stride + p], block * stride + p, parts);
    };
    in_chunks(blocks, area, kChunk, add, [&] {
      for (int i = 0; i < N; ++i) wholes[i] += sum(parts[i]), parts[i] = Vec{};
    });
    return wholes;
  }
};

struct Moments {
  float mean, variance;
};

Moments moments_of(const Channel& channel, const Vec* lanes, float count) {
  const auto [total] = channel.sums<1>([&](int block, Vec x, std::size_t, Vec* to) { to[0] += x * lanes[block]; });
  const float mean = float(total / count);
  const auto [squares] = channel.sums<1>(
      [&](int block, Vec x, std::size_t, Vec* to) { to[0] += (x - mean) * (x - mean) * lanes[block]; });
  return {mean, float(squares / count)};
}

// Running statistics as torch keeps them: an exponential mean, of the unbiased variance.
void remember(const Moments& now, float count, float* running_mean, float* running_variance) {
  *running_mean += kBnMomentum * (now.mean - *running_mean);
  *running_variance += kBnMomentum * (now.variance * count / (count - 1.f) - *running_variance);
}

}  // namespace

// target (+)= batch normalisation of what the step convolved.
void Network::normalise_batch(const Step& s, std::size_t position, Team& team) {
  const Convolution& c = plan.convolutions[s.convolution];
  Batch& b = *batch_;
  const std::size_t area = std::size_t(c.out_size()) * c.out_size(), length = area * c.outs;
  const float count = float(b.count) * float(area);
  team.each(c.outs, [&](int o, int) {
    const Channel channel{b.convolved[position].get() + o * area, length, area, b.work.blocks};
    const Moments now = moments_of(channel, b.lanes.get(), count);
    remember(now, count, &statistics[c.statistics + o], &statistics[c.statistics + c.outs + o]);
    const float inverse = 1.f / std::sqrt(now.variance + kBnEps);
    b.mean[position][o] = now.mean;
    b.inverse[position][o] = inverse;
    const float scale = parameters[c.scale() + o] * inverse, shift = parameters[c.shift() + o] - now.mean * scale;
    Vec* out = b.work.value(s.target) + o * area;
    channel.each([&](int, Vec x, std::size_t i) { out[i] = (s.first ? Vec{} : out[i]) + (x * scale + shift); });
  });
}

// slopes = gradient with respect to what the step convolved; also fills the gradients of scale and shift.
void Network::normalise_batch_back(const Step& s, std::size_t position, Team& team) {
  const Convolution& c = plan.convolutions[s.convolution];
  Batch& b = *batch_;
  const std::size_t area = std::size_t(c.out_size()) * c.out_size(), length = area * c.outs;
  const float count = float(b.count) * float(area);
  team.each(c.outs, [&](int o, int) {
    const Channel output{b.work.gradient(s.target) + o * area, length, area, b.work.blocks};
    const Vec* convolved = b.convolved[position].get() + o * area;
    const float mean = b.mean[position][o], inverse = b.inverse[position][o];
    const auto sums = output.sums<2>([&](int, Vec d, std::size_t i, Vec* to) {
      to[0] += d;
      to[1] += d * ((convolved[i] - mean) * inverse);
    });
    const float shift = float(sums[0]), scale = float(sums[1]);
    gradient[c.shift() + o] = shift;
    gradient[c.scale() + o] = scale;
    const float factor = parameters[c.scale() + o] * inverse;
    Vec* slopes = b.slopes.get() + o * area;
    output.each([&](int block, Vec d, std::size_t i) {
      const Vec standard = (convolved[i] - mean) * inverse;
      slopes[i] = b.lanes[block] * (factor * (d - shift / count - standard * (scale / count)));
    });
  });
}

// The head, in three parts: batch normalisation, ReLU and mean over pixels; linear layer and cross entropy, forwards
// and backwards; and the first part backwards.
void Network::head_forward(Team& team) {
  Batch& b = *batch_;
  const int channels = plan.last_channels;
  const std::size_t area = plan.tensors[plan.last].area(), length = area * channels;
  const float count = float(b.count) * float(area);
  std::fill_n(b.pooled.get(), std::size_t(channels) * b.work.blocks, Vec{});
  team.each(channels, [&](int c, int) {
    const Channel channel{b.work.value(plan.last) + c * area, length, area, b.work.blocks};
    const Moments now = moments_of(channel, b.lanes.get(), count);
    remember(now, count, &statistics[plan.head_statistics + c], &statistics[plan.head_statistics + channels + c]);
    Affine& affine = b.head[c];
    affine.mean = now.mean;
    affine.inverse = 1.f / std::sqrt(now.variance + kBnEps);
    affine.scale = parameters[plan.head_scale + c] / std::sqrt(now.variance + kBnEps);
    affine.shift = parameters[plan.head_scale + channels + c] - now.mean * affine.scale;
    channel.each([&](int block, Vec x, std::size_t) {
      b.pooled[block * channels + c] += relu(x * affine.scale + affine.shift) * (1.f / float(area));
    });
  });
}

// Returns the sum of the losses; fills the gradients of the linear layer and those of the logits.
double Network::head_loss(const Mask* labels, int* correct) {
  Batch& b = *batch_;
  const int channels = plan.last_channels, classes = this->classes();
  const float* weights = &parameters[plan.linear];
  float* weight_gradients = &gradient[plan.linear];
  double loss = 0;
  for (int block = 0; block < b.work.blocks; ++block) {
    for (int k = 0; k < classes; ++k) {
      b.logits[k] = all(weights[classes * channels + k]);
      for (int c = 0; c < channels; ++c) b.logits[k] += weights[k * channels + c] * b.pooled[block * channels + c];
    }
    Vec* slope = b.logit_slopes.get() + block * classes;
    const Vec losses = cross_entropy(b.logits.get(), labels[block], classes);
    const Mask fooled = is_fooled(b.logits.get(), labels[block], classes);
    cross_entropy_gradient(b.logits.get(), labels[block], classes, slope);
    for (int k = 0; k < classes; ++k) slope[k] *= b.lanes[block] / float(b.count);
    for (int lane = 0; lane < kLanes && block * kLanes + lane < b.count; ++lane) {
      loss += losses[lane];
      *correct += !fooled[lane];
    }
  }
  for (int k = 0; k < classes; ++k) {
    Vec total = {};
    for (int block = 0; block < b.work.blocks; ++block) total += b.logit_slopes[block * classes + k];
    weight_gradients[classes * channels + k] = sum(total);
    for (int c = 0; c < channels; ++c) {
      Vec products = {};
      for (int block = 0; block < b.work.blocks; ++block)
        products += b.logit_slopes[block * classes + k] * b.pooled[block * channels + c];
      weight_gradients[k * channels + c] = sum(products);
    }
  }
  return loss;
}

void Network::head_backward(Team& team) {
  Batch& b = *batch_;
  const int channels = plan.last_channels, classes = this->classes();
  const std::size_t area = plan.tensors[plan.last].area(), length = area * channels;
  const float count = float(b.count) * float(area);
  const float* weights = &parameters[plan.linear];
  team.each(channels, [&](int c, int) {
    const Channel channel{b.work.value(plan.last) + c * area, length, area, b.work.blocks};
    const Affine& affine = b.head[c];
    auto slope_at = [&](int block, Vec x) {
      Vec slope = {};
      for (int k = 0; k < classes; ++k) slope += weights[k * channels + c] * b.logit_slopes[block * classes + k];
      slope *= 1.f / float(area);
      return x * affine.scale + affine.shift > Vec{} ? slope : Vec{};
    };
    const auto sums = channel.sums<2>([&](int block, Vec x, std::size_t, Vec* to) {
      const Vec d = slope_at(block, x);
      to[0] += d;
      to[1] += d * ((x - affine.mean) * affine.inverse);
    });
    const float shift = float(sums[0]), scale = float(sums[1]);
    gradient[plan.head_scale + c] = scale;
    gradient[plan.head_scale + channels + c] = shift;
    Vec* out = b.work.gradient(plan.last) + c * area;
    channel.each([&](int block, Vec x, std::size_t i) {
      const Vec standard = (x - affine.mean) * affine.inverse;
      out[i] = b.lanes[block] * (affine.scale * (slope_at(block, x) - shift / count - standard * (scale / count)));
    });
  });
}

// Get ready for `count` images: buffers for so many blocks and threads, and which lanes hold an image.
void Network::begin_batch(int count, int threads) {
  const int blocks = (count + kLanes - 1) / kLanes;
  if (!batch_ || batch_->work.blocks != blocks || int(batch_->scratch.size()) < threads) {
    batch_.reset();  // first, so that both never exist at once
    batch_ = std::make_unique<Batch>(plan, blocks, threads);
  }
  batch_->count = count;
  for (int i = 0; i < blocks * kLanes; ++i) batch_->lanes[i / kLanes][i % kLanes] = i < count ? 1.f : 0.f;
  std::fill(gradient.begin(), gradient.end(), 0.f);
}

void Network::train_forward(const Vec* images, Team& team) {
  Batch& b = *batch_;
  team.each(b.work.blocks, [&](int block, int) { normalise(images + block * pixels(), b.work.value(0, block)); });
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const Step& s = plan.steps[i];
    if (s.kind == kConvolve) convolve_all(s, i, team);
    else team.each(b.work.blocks, [&](int block, int on) { step_forward(s, b.work, block, b.scratch[on].get()); });
  }
}

void Network::convolve_all(const Step& s, std::size_t position, Team& team) {
  Batch& b = *batch_;
  const Convolution& c = plan.convolutions[s.convolution];
  const std::size_t length = plan.tensors[s.target].length();
  prepare(c, &parameters[c.weights], b.prepared.data());
  team.each(b.work.blocks, [&](int block, int on) {
    Vec* out = c.normalised ? b.convolved[position].get() + block * length : b.work.value(s.target, block);
    convolve(c, b.work.value(s.source, block), b.prepared.data(), nullptr, out, !c.normalised && !s.first,
             b.scratch[on].get());
  });
  if (c.normalised) normalise_batch(s, position, team);
}

void Network::train_backward(Team& team) {
  Batch& b = *batch_;
  for (std::size_t i = plan.steps.size(); i-- > 0;) {
    const Step& s = plan.steps[i];
    if (s.reached && s.kind == kConvolve) differentiate_convolution(s, i, team);
    else if (s.wants_gradient)
      team.each(b.work.blocks, [&](int block, int on) { step_backward(s, b.work, block, b.scratch[on].get()); });
  }
}

void Network::differentiate_convolution(const Step& s, std::size_t position, Team& team) {
  Batch& b = *batch_;
  const Convolution& c = plan.convolutions[s.convolution];
  const Vec* slopes = b.work.gradient(s.target);
  if (c.normalised) {
    normalise_batch_back(s, position, team);
    slopes = b.slopes.get();
  }
  weight_gradient(c, b.work.value(s.source), slopes, &gradient[c.weights], b.work.blocks, team);
  if (!s.wants_gradient || s.source == 0) return;
  turn(c, &parameters[c.weights], b.turned.data());
  prepare(c, b.turned.data(), b.prepared.data());
  team.each(b.work.blocks, [&](int block, int on) {
    convolve_back(c, slopes + block * plan.tensors[s.target].length(), b.prepared.data(),
                  b.work.gradient(s.source, block), !s.first_gradient, b.scratch[on].get());
  });
}

double Network::differentiate(const Vec* images, const Mask* labels, int count, int* correct, Team& team) {
  begin_batch(count, team.size());
  train_forward(images, team);
  head_forward(team);
  const double loss = head_loss(labels, correct);
  head_backward(team);
  train_backward(team);
  return loss;
}

void Network::update(float learning_rate, float momentum_factor, float weight_decay) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    momentum[i] = momentum_factor * momentum[i] + gradient[i] + weight_decay * parameters[i];
    parameters[i] -= learning_rate * momentum[i];
  }
}

}  // namespace engine
