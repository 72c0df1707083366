// Images in memory to blocks and back.
#pragma once

#include "attacks.h"

namespace engine {

inline int blocks_of(int count) { return (count + kLanes - 1) / kLanes; }

// Images from `first` on; lanes beyond the last one repeat it.
inline void load_block(const float* images, int first, int count, std::size_t length, Vec* block) {
  for (int lane = 0; lane < kLanes; ++lane)
    load_lane(images + std::min(first + lane, count - 1) * length, length, lane, block);
}

inline void store_block(const Vec* block, int first, int count, std::size_t length, float* images) {
  for (int lane = 0; lane < kLanes && first + lane < count; ++lane)
    store_lane(block, length, lane, images + (first + lane) * length);
}

inline Mask load_labels(const std::int32_t* labels, int first, int count) {
  Mask block;
  for (int lane = 0; lane < kLanes; ++lane) block[lane] = labels[std::min(first + lane, count - 1)];
  return block;
}

// Some images, packed into one block, and what came of them.
struct Packed {
  Packed(const Target& target, const std::vector<int>& chosen, std::size_t first)
      : image(target.images.length), label(), lanes(int(std::min(chosen.size() - first, std::size_t(kLanes)))) {
    for (int lane = 0; lane < kLanes; ++lane) {
      index[lane] = chosen[first + std::min(lane, lanes - 1)];
      label[lane] = target.images.labels[index[lane]];
      load_lane(target.images.pixels + index[lane] * target.images.length, target.images.length, lane, image.get());
    }
  }
  // The wrong class of the given rank, by lane.
  Mask ranked(const Target& target, int rank) const {
    Mask found;
    for (int lane = 0; lane < kLanes; ++lane)
      found[lane] = target.ranked[std::size_t(index[lane]) * (target.network.classes() - 1) + rank];
    return found;
  }
  // Keep the points of lanes that are newly found to be misclassified; return whether all lanes are by now.
  bool keep(const Target& target, Mask fooled, const Vec* point) const {
    bool all = true;
    for (int lane = 0; lane < lanes; ++lane) {
      std::uint8_t& survives = target.survives[index[lane]];
      if (fooled[lane] && survives) {
        survives = 0;
        store_lane(point, target.images.length, lane, target.adversarial + index[lane] * target.images.length);
      }
      all &= !survives;
    }
    return all;
  }

  Buffer image;
  Mask label;
  int lanes;  // how many hold an image of their own
  int index[kLanes];
};

// Call f(block, passes) for the images in blocks, then forget those that did not survive.
template <class F>
void in_blocks(const Target& target, std::vector<int>& left, F f) {
  target.team.each(blocks_of(int(left.size())), [&](int block, int thread) {
    f(Packed(target, left, std::size_t(block) * kLanes), target.network.passes(thread));
  });
  left.erase(std::remove_if(left.begin(), left.end(), [&](int i) { return !target.survives[i]; }), left.end());
}

}  // namespace engine
