// Lines out of a descriptor that does not block.
//
// Thread rules: one thread at a time.
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace catena::up {

class LineReader {
 public:
  using OnLine = std::function<void(std::string_view line)>;

  // Reads what is there and calls on_line for each whole line, without its end. False once there
  // will be no more: what had no line end is then a line too. A longer line than kMaxBytes comes
  // in pieces.
  bool Read(int fd, const OnLine& on_line);

  static constexpr size_t kMaxBytes = 64 << 10;

 private:
  std::string rest_;
};

}  // namespace catena::up
