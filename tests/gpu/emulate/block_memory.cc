#include "tests/gpu/emulate/block_memory.h"

#include <cstdlib>
#include <cstring>
#include <new>
#include <string>

#include "tests/gpu/emulate/sanitizers.h"

namespace catena::emulate {
namespace {

constexpr size_t kAlignment = 128;
constexpr uint32_t kGap = 1024;  // between the addresses of two variables

}  // namespace

void BlockMemory::Free::operator()(void* p) const { std::free(p); }

BlockMemory::Piece BlockMemory::NewPiece(size_t bytes, uint32_t address) {
  void* p = nullptr;
  if (posix_memalign(&p, kAlignment, bytes) != 0) throw std::bad_alloc();
  std::memset(p, 0xff, bytes);
  Piece piece;
  piece.data.reset(p);
  piece.bytes = bytes;
  piece.address = address;
  return piece;
}

void BlockMemory::Start(size_t dynamic_bytes) {
  End();
  next_address_ = 0;
  if (dynamic_bytes > 0) dynamic_ = NewPiece(dynamic_bytes, 0);
  next_address_ = static_cast<uint32_t>(dynamic_bytes + kGap) / kAlignment * kAlignment;
}

void BlockMemory::End() {
  const Unseen unseen;
  dynamic_ = {};
  variables_.clear();
}

void* BlockMemory::Variable(const void* key, size_t bytes) {
  Piece& piece = variables_[key];
  if (piece.data == nullptr) {
    piece = NewPiece(bytes, next_address_);
    next_address_ += static_cast<uint32_t>(bytes + kGap) / kAlignment * kAlignment;
  }
  return piece.data.get();
}

template <class F>
bool BlockMemory::AnyOf(F f) const {
  if (dynamic_.data != nullptr && f(dynamic_)) return true;
  for (const auto& [key, piece] : variables_) {
    if (f(piece)) return true;
  }
  return false;
}

uint32_t BlockMemory::AddressOf(const void* p, const Where& where) const {
  uint32_t address = 0;
  const bool found = AnyOf([&](const Piece& piece) {
    const auto at = static_cast<const char*>(p) - static_cast<const char*>(piece.data.get());
    const bool inside = at >= 0 && at < static_cast<ptrdiff_t>(piece.bytes);
    if (inside) address = piece.address + static_cast<uint32_t>(at);
    return inside;
  });
  if (!found) Fail("a pointer that is not to shared memory", where);
  return address;
}

void* BlockMemory::At(uint32_t address, size_t bytes, const Where& where) const {
  void* at = nullptr;
  const bool found = AnyOf([&](const Piece& piece) {
    const bool inside = address >= piece.address && address + bytes <= piece.address + piece.bytes;
    if (inside) at = static_cast<char*>(piece.data.get()) + (address - piece.address);
    return inside;
  });
  if (!found) Fail("an address outside of shared memory", where);
  if (address % bytes != 0) Fail("an unaligned shared address", where);
  return at;
}

void CopyQueue::Add(void* to, const void* from, bool valid, const Where& where) {
  if (valid && reinterpret_cast<uintptr_t>(from) % kCopyBytes != 0) {
    Fail("an asynchronous copy from an unaligned address", where);
  }
  std::memset(to, 0xff, kCopyBytes);
  const Unseen unseen;
  copies_.push_back({to, valid ? from : nullptr, group_});
}

void CopyQueue::Wait(int groups_left) {
  while (!copies_.empty() && copies_.front().group + groups_left < group_) {
    const Copy copy = copies_.front();
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, kCopyBytes);
    } else {
      std::memset(copy.to, 0, kCopyBytes);
    }
    const Unseen unseen;
    copies_.pop_front();
  }
}

}  // namespace catena::emulate
