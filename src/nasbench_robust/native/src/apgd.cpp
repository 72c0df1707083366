// Auto-PGD (Croce and Hein, ICML 2020): src/nasbench_robust/attacks/apgd.py, one block at a time.

#include <cmath>
#include <functional>

#include "blocks.h"
#include "objectives.h"

namespace engine {

namespace {

constexpr float kMomentum = 0.75f, kGrowth = 0.75f;
constexpr int kTargets = 9;

// Value and logit gradient of what is maximised.
using Objective = std::function<Vec(const Vec* logits, Vec* gradient)>;

// The steps after which Auto-PGD considers to halve its step size.
std::vector<int> checkpoints(int steps) {
  std::vector<int> found;
  double previous = 0, share = 0.22;
  while (share <= 1) {
    const int step = int(std::ceil(std::round(share * steps * 1e9) / 1e9));
    if (found.empty() || found.back() != step) found.push_back(step);
    const double next = share + std::max(share - previous - 0.03, 0.06);
    previous = share;
    share = next;
  }
  return found;
}

class Ascent {
 public:
  Ascent(const Target& target, const Budget& budget, const Packed& block, Passes& passes)
      : target_(target), budget_(budget), block_(block), passes_(passes), n_(target.images.length),
        point_(n_), previous_(n_), gradient_(n_), best_point_(n_), best_gradient_(n_), slope_(n_),
        logits_(target.network.classes()), slopes_(target.network.classes()) {}

  void run(const Objective& objective, int part, int attempt) {
    start(part, attempt);
    const std::vector<int> halvings = checkpoints(budget_.steps);
    int last = 0;
    std::size_t next = 0;
    for (int k = 0; k <= budget_.steps; ++k) {
      if (k > 0) move(k == 1);
      passes_.forward(point_.get(), logits_.get());
      const Mask fooled = is_fooled(logits_.get(), block_.label, target_.network.classes());
      if (block_.keep(target_, fooled, point_.get())) return;
      const Vec value = objective(logits_.get(), slopes_.get());
      passes_.backward(slopes_.get(), gradient_.get());
      growths_ += where(value > value_, all(1.f), Vec{});
      value_ = value;
      remember_best();
      if (next < halvings.size() && k == halvings[next]) {
        halve_where_it_stalls(float(k - last));
        last = k;
        ++next;
      }
    }
  }

 private:
  Vec project(std::size_t i, Vec pixel) const {
    const Vec image = block_.image[i];
    return clamp(pixel, larger(image - budget_.eps, Vec{}), smaller(image + budget_.eps, all(1.f)));
  }

  void start(int part, int attempt) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t key = key_of(budget_.seed, part, attempt, budget_.first + block_.index[lane]);
      for (std::size_t i = 0; i < n_; ++i) slope_[i][lane] = budget_.eps * (2.f * unit(draw(key, i)) - 1.f);
    }
    for (std::size_t i = 0; i < n_; ++i) previous_[i] = point_[i] = project(i, block_.image[i] + slope_[i]);
    step_ = all(2 * budget_.eps);
    value_ = all(1e30f);  // the start is no growth
    best_value_ = best_before_ = all(-1e30f);
    growths_ = Vec{};
    halved_ = Mask{} - 1;  // the first checkpoint has none before it to compare with
  }

  void move(bool first) {
    for (std::size_t i = 0; i < n_; ++i) {
      const Vec point = point_[i];
      Vec moved = project(i, point + step_ * sign(gradient_[i]));
      if (!first) moved = project(i, point + kMomentum * (moved - point) + (1 - kMomentum) * (point - previous_[i]));
      previous_[i] = point;
      point_[i] = moved;
    }
  }

  void remember_best() {
    const Mask better = value_ > best_value_;
    if (!any(better)) return;
    best_value_ = where(better, value_, best_value_);
    for (std::size_t i = 0; i < n_; ++i) {
      best_point_[i] = where(better, point_[i], best_point_[i]);
      best_gradient_[i] = where(better, gradient_[i], best_gradient_[i]);
    }
  }

  void halve_where_it_stalls(float steps) {
    const Mask seldom = growths_ < all(kGrowth * steps), stuck = ~halved_ & (best_value_ <= best_before_);
    halved_ = seldom | stuck;
    step_ = where(halved_, 0.5f * step_, step_);
    value_ = where(halved_, best_value_, value_);
    for (std::size_t i = 0; i < n_; ++i) {
      point_[i] = where(halved_, best_point_[i], point_[i]);
      gradient_[i] = where(halved_, best_gradient_[i], gradient_[i]);
    }
    growths_ = Vec{};
    best_before_ = best_value_;
  }

  const Target& target_;
  const Budget& budget_;
  const Packed& block_;
  Passes& passes_;
  std::size_t n_;
  Buffer point_, previous_, gradient_, best_point_, best_gradient_, slope_, logits_, slopes_;
  Vec step_, value_, best_value_, best_before_, growths_;
  Mask halved_;
};

}  // namespace

void apgd_ce(const Target& target, const Budget& budget, std::vector<int> left) {
  const int classes = target.network.classes();
  for (int attempt = 0; attempt < budget.restarts; ++attempt) {
    in_blocks(target, left, [&](const Packed& block, Passes& passes) {
      auto objective = [&](const Vec* logits, Vec* gradient) {
        cross_entropy_gradient(logits, block.label, classes, gradient);
        return cross_entropy(logits, block.label, classes);
      };
      Ascent(target, budget, block, passes).run(objective, 0, attempt);
    });
  }
}

void apgd_t(const Target& target, const Budget& budget, std::vector<int> left) {
  const int classes = target.network.classes(), targets = std::min(kTargets, classes - 1);
  for (int attempt = 0; attempt < budget.restarts * targets; ++attempt) {
    in_blocks(target, left, [&](const Packed& block, Passes& passes) {
      const Mask towards = block.ranked(target, attempt % targets);
      auto objective = [&](const Vec* logits, Vec* gradient) {
        return targeted_dlr(logits, block.label, towards, classes, gradient);
      };
      Ascent(target, budget, block, passes).run(objective, 1, attempt);
    });
  }
}

}  // namespace engine
