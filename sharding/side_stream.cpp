#include "sharding/side_stream.h"

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>

#include <memory>

namespace muster::sharding {

SideStream::SideStream(c10::Device device) {
  if (device.is_cpu()) return;
  stream_ = c10::impl::VirtualGuardImpl(device.type())
                .getStreamFromGlobalPool(device, /*isHighPriority=*/true);
}

std::function<void()> SideStream::behind_caller(std::function<void()> job) const {
  if (!stream_) return job;
  const auto ready = std::make_shared<c10::Event>(stream_->device_type());
  ready->record(c10::impl::VirtualGuardImpl(stream_->device_type()).getStream(stream_->device()));
  return [stream = *stream_, ready, job = std::move(job)] {
    const c10::StreamGuard guard(stream);
    ready->block(stream);
    job();
    stream.synchronize();
  };
}

}  // namespace muster::sharding
