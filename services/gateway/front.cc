#include "services/gateway/front.h"

namespace catena {

absl::Status CheckOutput(const Front& front, const HeldBytes& buffered) {
  const bool too_much_of_all = front.buffered.exceeded() && buffered.size() > kLeastBufferedBytes;
  if (buffered.size() <= front.max_buffered_bytes && !too_much_of_all) return absl::OkStatus();
  return WithReason(absl::ResourceExhaustedError(fmt::format(
                        "{} bytes of output wait for the client; read the stream faster, or ask "
                        "for less at a time",
                        buffered.size())),
                    ErrorReason::kSlowClient);
}

}  // namespace catena
