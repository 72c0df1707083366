// FAB-T (Croce and Hein, ICML 2020): src/nasbench_robust/attacks/fab.py, one block at a time.

#include "blocks.h"
#include "objectives.h"

namespace engine {

namespace {

constexpr float kMostBias = 0.1f, kOvershoot = 1.05f, kRetreat = 0.9f, kNowhere = 1e10f;
constexpr int kTargets = 9, kSearchSteps = 3;

Vec largest(const Vec* pixels, std::size_t n) {
  Vec found = {};
  for (std::size_t i = 0; i < n; ++i) found = larger(found, absolute(pixels[i]));
  return found;
}

// way = the L-infinity shortest way from a point of [0, 1] to {x : value + normal . (x - point) = 0} in the box. All
// pixels move by one length but stop at the box. How far `value` falls is a concave, piecewise linear function of the
// length; Newton's method reaches its solution from the left in a few steps, exactly. Without one, all go to the box.
void nearest_on_hyperplane(const Vec* point, const Vec* normal, Vec value, std::size_t n, Vec* way, Vec* room,
                           Vec* steep) {
  const Vec direction = sign(value), wanted = absolute(value), enough = wanted * (1 - 1e-6f);
  Vec total = {};
  for (std::size_t i = 0; i < n; ++i) {
    const Vec slope = -normal[i] * direction;
    room[i] = slope > Vec{} ? 1.f - point[i] : point[i];
    steep[i] = absolute(slope);
    way[i] = sign(slope);
    total += steep[i];
  }
  Vec length = where(total > Vec{}, wanted / total, Vec{});
  for (std::size_t step = 0; step <= n; ++step) {
    Vec reached = {}, moving = {};
    for (std::size_t i = 0; i < n; ++i) {
      reached += steep[i] * smaller(length, room[i]);
      moving += room[i] > length ? steep[i] : Vec{};
    }
    const Mask short_of = reached < enough;
    if (!any(short_of)) break;
    length = where(short_of, where(moving > Vec{}, length + (wanted - reached) / moving, all(1.f)), length);
    if (!any(short_of & (moving > Vec{}))) break;
  }
  for (std::size_t i = 0; i < n; ++i) way[i] *= smaller(length, room[i]);
}

class Walk {
 public:
  Walk(const Target& target, const Budget& budget, const Packed& block, Passes& passes)
      : target_(target), budget_(budget), block_(block), passes_(passes), n_(target.images.length), classes_(target.network.classes()),
        point_(n_), nearest_(n_), gradient_(n_), onto_(n_), from_image_(n_), room_(n_), steep_(n_), logits_(classes_),
        slopes_(classes_) {}

  void run(Mask towards) {
    const Vec* image = block_.image.get();
    std::copy(image, image + n_, point_.get());
    distance_ = all(kNowhere);
    ask(point_);
    for (int step = 0; step < budget_.steps; ++step) {
      move(towards);
      ask(point_);
      const Mask fooled = is_fooled(logits_.get(), block_.label, classes_);
      if (!any(fooled)) continue;  // the logits are those of the next step
      if (keep_nearest(fooled)) return;
      for (std::size_t i = 0; i < n_; ++i)
        point_[i] = where(fooled, (1 - kRetreat) * image[i] + kRetreat * point_[i], point_[i]);
      ask(point_);
    }
    if (any(distance_ < all(kNowhere))) search_segment();
  }

 private:
  void ask(const Buffer& point) { passes_.forward(point.get(), logits_.get()); }

  void move(Mask towards) {
    const Vec* image = block_.image.get();
    for (int k = 0; k < classes_; ++k)
      slopes_[k] = where(towards == k, all(1.f), Vec{}) - where(block_.label == k, all(1.f), Vec{});
    passes_.backward(slopes_.get(), gradient_.get());
    const Vec value = logit_of(logits_.get(), towards, classes_) - logit_of(logits_.get(), block_.label, classes_);
    Vec at_image = value;
    for (std::size_t i = 0; i < n_; ++i) at_image += gradient_[i] * (image[i] - point_[i]);
    nearest_on_hyperplane(point_.get(), gradient_.get(), value, n_, onto_.get(), room_.get(), steep_.get());
    nearest_on_hyperplane(image, gradient_.get(), at_image, n_, from_image_.get(), room_.get(), steep_.get());
    const Vec length = larger(largest(onto_.get(), n_), all(1e-8f));
    const Vec length_from_image = larger(largest(from_image_.get(), n_), all(1e-8f));
    const Vec bias = smaller(length / (length + length_from_image), all(kMostBias));
    for (std::size_t i = 0; i < n_; ++i) {
      const Vec moved = (1.f - bias) * (point_[i] + kOvershoot * onto_[i]) +
                        bias * (image[i] + kOvershoot * from_image_[i]);
      point_[i] = clamp(moved, Vec{}, all(1.f));
    }
  }

  // Remember misclassified points nearer than those before; return whether all images have one within eps.
  bool keep_nearest(Mask fooled) {
    Vec far = {};
    for (std::size_t i = 0; i < n_; ++i) far = larger(far, absolute(point_[i] - block_.image[i]));
    const Mask better = fooled & (far < distance_);
    distance_ = where(better, far, distance_);
    for (std::size_t i = 0; i < n_; ++i) nearest_[i] = where(better, point_[i], nearest_[i]);
    return block_.keep(target_, better & (far <= all(budget_.eps)), point_.get());
  }

  // Move the nearest points towards their images by false position on the margin.
  void search_segment() {
    const Mask hit = distance_ < all(kNowhere);
    Buffer &inside = onto_, &outside = nearest_, &between = from_image_;
    for (std::size_t i = 0; i < n_; ++i) inside[i] = block_.image[i];
    ask(inside);
    Vec at_inside = margin(logits_.get(), block_.label, classes_);
    ask(outside);
    Vec at_outside = margin(logits_.get(), block_.label, classes_);
    for (int step = 0; step < kSearchSteps; ++step) {
      const Vec share = at_outside / smaller(at_outside - at_inside, all(-1e-12f));
      for (std::size_t i = 0; i < n_; ++i) between[i] = outside[i] + share * (inside[i] - outside[i]);
      ask(between);
      const Mask fooled = is_fooled(logits_.get(), block_.label, classes_);
      const Vec value = margin(logits_.get(), block_.label, classes_);
      for (std::size_t i = 0; i < n_; ++i) {
        outside[i] = where(fooled, between[i], outside[i]);
        inside[i] = where(fooled, inside[i], between[i]);
      }
      at_outside = where(fooled, value, at_outside);
      at_inside = where(fooled, at_inside, value);
    }
    Vec far = {};
    for (std::size_t i = 0; i < n_; ++i) far = larger(far, absolute(outside[i] - block_.image[i]));
    block_.keep(target_, hit & (far <= all(budget_.eps)), outside.get());
  }

  const Target& target_;
  const Budget& budget_;
  const Packed& block_;
  Passes& passes_;
  std::size_t n_;
  int classes_;
  Buffer point_, nearest_, gradient_, onto_, from_image_, room_, steep_, logits_, slopes_;
  Vec distance_;
};

}  // namespace

void fab_t(const Target& target, const Budget& budget, std::vector<int> left) {
  for (int rank = 0; rank < std::min(kTargets, target.network.classes() - 1); ++rank)
    in_blocks(target, left, [&](const Packed& block, Passes& passes) {
      Walk(target, budget, block, passes).run(block.ranked(target, rank));
    });
}

}  // namespace engine
