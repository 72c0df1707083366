#include "parallel.h"

#include <system_error>

namespace engine {

Team::Team(int threads) {
  try {
    for (int thread = 1; thread < threads; ++thread) helpers_.emplace_back(&Team::help, this, thread);
  } catch (const std::system_error&) {
    // The system gives no more threads; those that there are do the work.
  }
}

Team::~Team() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    round_ = -1;
  }
  called_.notify_all();
  for (std::thread& helper : helpers_) helper.join();
}

void Team::each(int count, const Work& work) {
  if (helpers_.empty() || count < 2) {
    for (int unit = 0; unit < count; ++unit) work(unit, 0);
    return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    work_ = &work;
    count_ = count;
    next_ = 0;
    busy_ = int(helpers_.size());
    ++round_;
  }
  called_.notify_all();
  take_units(0);
  std::unique_lock<std::mutex> lock(mutex_);
  done_.wait(lock, [&] { return busy_ == 0; });
}

void Team::help(int thread) {
  int seen = 0;
  while (true) {
    {
      std::unique_lock<std::mutex> lock(mutex_);
      called_.wait(lock, [&] { return round_ != seen; });
      if (round_ < 0) return;
      seen = round_;
    }
    take_units(thread);
    std::lock_guard<std::mutex> lock(mutex_);
    if (--busy_ == 0) done_.notify_one();
  }
}

void Team::take_units(int thread) {
  for (int unit = next_++; unit < count_; unit = next_++) (*work_)(unit, thread);
}

}  // namespace engine
