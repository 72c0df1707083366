// Square attack (Andriushchenko et al., ECCV 2020): src/nasbench_robust/attacks/square.py.
//
// Every lane searches on an image of its own at its own pace and takes the next image when it is done. A query whose
// answer is known is counted but not made: its square changes nothing, or was rejected and nothing was accepted since.

#include <atomic>
#include <cmath>

#include "blocks.h"
#include "objectives.h"

namespace engine {

namespace {

constexpr int kHalvings[] = {10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000};

// Side of the square of every query; query 0 are the stripes.
std::vector<int> sides_of(int queries, int size) {
  std::vector<int> sides(queries);
  for (int query = 1; query < queries; ++query) {
    const int scaled = int(double(query) / queries * 10000);
    double share = 0.8;
    for (int halving : kHalvings)
      if (scaled > halving) share /= 2;
    sides[query] = std::max(1, int(std::nearbyint(std::sqrt(share * size * size))));
  }
  return sides;
}

class Search {
 public:
  // `next`: the first of the images that `left` names which no search has taken.
  Search(const Target& target, const Budget& budget, int attempt, const std::vector<int>& left,
         std::atomic<std::size_t>& next, Passes& passes)
      : target_(target), budget_(budget), attempt_(attempt), left_(left), next_(next), passes_(passes), n_(target.images.length),
        channels_(target.network.plan.shape.input_channels), size_(target.network.plan.shape.size),
        classes_(target.network.classes()), sides_(sides_of(budget.queries, size_)), low_(n_), high_(n_), point_(n_),
        candidate_(n_), logits_(classes_) {}

  void run() {
    for (int lane = 0; lane < kLanes; ++lane) begin(lane);
    while (std::any_of(lanes_, lanes_ + kLanes, [](const Lane& lane) { return lane.image >= 0; })) {
      passes_.forward(candidate_.get(), logits_.get());
      const Vec margins = margin(logits_.get(), label_, classes_);
      const Mask fooled = is_fooled(logits_.get(), label_, classes_);
      for (int lane = 0; lane < kLanes; ++lane)
        if (lanes_[lane].image >= 0) answer(lane, margins[lane], fooled[lane]);
    }
  }

 private:
  struct Lane {
    int image = -1, query = 0, row = 0, column = 0, side = 0, left = 0;  // left: moves that are not hopeless
    std::size_t move = 0;
    std::uint64_t key = 0;
    float margin = 0;
    std::vector<char> hopeless;  // by move: known to bring nothing
  };

  // Take the next image and ask about random vertical stripes.
  void begin(int lane) {
    Lane& l = lanes_[lane];
    const std::size_t taken = next_++;
    l.image = taken < left_.size() ? left_[taken] : -1;
    if (l.image < 0) return;
    l.key = key_of(budget_.seed, 3, attempt_, budget_.first + l.image);
    l.query = l.side = 0;
    label_[lane] = target_.images.labels[l.image];
    const float* pixels = target_.images.pixels + l.image * n_;
    for (std::size_t i = 0; i < n_; ++i) {
      low_[i][lane] = std::max(pixels[i] - budget_.eps, 0.f);
      high_[i][lane] = std::min(pixels[i] + budget_.eps, 1.f);
      const std::size_t stripe = i / (size_ * size_) * size_ + i % size_;
      const bool up = draw(~l.key, stripe) >> 63;
      point_[i][lane] = candidate_[i][lane] = up ? high_[i][lane] : low_[i][lane];
    }
  }

  void answer(int lane, float margin, bool fooled) {
    Lane& l = lanes_[lane];
    if (fooled) {
      target_.survives[l.image] = 0;
      store_lane(candidate_.get(), n_, lane, target_.adversarial + l.image * n_);
      return begin(lane);
    }
    if (l.query == 0 || margin < l.margin) {
      l.margin = margin;
      copy_square(lane, candidate_, point_);
      forget(l);
    } else {
      copy_square(lane, point_, candidate_);
      l.hopeless[l.move] = 1;
      --l.left;
    }
    if (!advance(lane)) begin(lane);
  }

  void forget(Lane& l) {
    const std::size_t span = size_ - l.side + 1;
    l.hopeless.assign(l.side ? (span * span) << channels_ : 0, 0);
    l.left = int(l.hopeless.size());
  }

  // Put the next square into the candidate whose answer is not known; return whether there is one.
  bool advance(int lane) {
    Lane& l = lanes_[lane];
    while (++l.query < budget_.queries) {
      if (sides_[l.query] != l.side) {
        l.side = sides_[l.query];
        forget(l);
      }
      if (l.left == 0) continue;
      l.move = std::size_t(draw(l.key, l.query) % l.hopeless.size());
      if (l.hopeless[l.move]) continue;
      const int span = size_ - l.side + 1, corner = int(l.move >> channels_);
      l.row = corner / span;
      l.column = corner % span;
      if (fill_square(lane)) return true;
      l.hopeless[l.move] = 1;
      --l.left;
    }
    return false;
  }

  template <class F>
  void each_of_square(const Lane& l, F f) const {
    for (int c = 0; c < channels_; ++c)
      for (int row = l.row; row < l.row + l.side; ++row)
        for (int column = l.column; column < l.column + l.side; ++column)
          f(c, (std::size_t(c) * size_ + row) * size_ + column);
  }

  // Return whether that changes a pixel.
  bool fill_square(int lane) {
    const Lane& l = lanes_[lane];
    bool changes = false;
    each_of_square(l, [&](int c, std::size_t i) {
      const float value = l.move >> c & 1 ? high_[i][lane] : low_[i][lane];
      changes |= value != point_[i][lane];
      candidate_[i][lane] = value;
    });
    return changes;
  }

  void copy_square(int lane, const Buffer& from, const Buffer& to) {
    each_of_square(lanes_[lane], [&](int, std::size_t i) { to[i][lane] = from[i][lane]; });
  }

  const Target& target_;
  const Budget& budget_;
  int attempt_;
  const std::vector<int>& left_;
  std::atomic<std::size_t>& next_;
  Passes& passes_;
  std::size_t n_;
  int channels_, size_, classes_;
  std::vector<int> sides_;
  Buffer low_, high_, point_, candidate_, logits_;
  Mask label_ = {};
  Lane lanes_[kLanes];
};

}  // namespace

void square(const Target& target, const Budget& budget, std::vector<int> left) {
  for (int attempt = 0; attempt < budget.restarts; ++attempt) {
    std::atomic<std::size_t> next{0};
    target.team.each(std::min(target.team.size(), blocks_of(int(left.size()))), [&](int, int thread) {
      Search(target, budget, attempt, left, next, target.network.passes(thread)).run();
    });
    left.erase(std::remove_if(left.begin(), left.end(), [&](int i) { return !target.survives[i]; }), left.end());
  }
}

}  // namespace engine
