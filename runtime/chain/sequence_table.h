// The sequences that are open at a stage, and the leases that keep them open: what a gateway no
// longer names in its heartbeats, or a gateway that is silent for too long, holds nothing (DESIGN
// section 4, rules 8 and 11).
//
// Thread rules: plain state, one thread at a time.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "absl/container/btree_map.h"

#include "runtime/chain/instant.h"
#include "runtime/chain/messages.h"

namespace catena {

template <class Sequence>
class SequenceTable {
 public:
  // Null where it is not open.
  Sequence* Find(const SequenceKey& key) {
    auto it = sequences_.find(key);
    return it == sequences_.end() ? nullptr : it->second.get();
  }
  // REQUIRES: the key is not open.
  Sequence* Insert(const SequenceKey& key, std::unique_ptr<Sequence> sequence, Instant now) {
    Gateway& gateway = gateways_[key.gateway];
    ++gateway.open;
    gateway.renewed = now;
    return (sequences_[key] = std::move(sequence)).get();
  }
  // Takes it out. REQUIRES: the key is open.
  std::unique_ptr<Sequence> Extract(const SequenceKey& key) {
    auto it = sequences_.find(key);
    std::unique_ptr<Sequence> sequence = std::move(it->second);
    sequences_.erase(it);
    auto gateway = gateways_.find(key.gateway);
    if (--gateway->second.open == 0) gateways_.erase(gateway);
    return sequence;
  }
  int64_t size() const { return static_cast<int64_t>(sequences_.size()); }

  template <class Fn>
  void ForEach(const Fn& fn) {
    for (auto& [key, sequence] : sequences_) fn(sequence.get());
  }
  template <class Fn>
  void ForEach(const Fn& fn) const {
    for (const auto& [key, sequence] : sequences_) {
      const Sequence* s = sequence.get();
      fn(s);
    }
  }
  // Each that has a sequence open here.
  template <class Fn>
  void ForEachGateway(const Fn& fn) const {
    for (const auto& [gateway, state] : gateways_) fn(gateway);
  }

  // A gateway spoke: all that it has open here stays.
  void Renew(Incarnation gateway, Instant now) {
    auto it = gateways_.find(gateway);
    if (it != gateways_.end()) it->second.renewed = now;
  }

  // What `gateway` opened up to `heartbeat.newest` and no longer names.
  std::vector<SequenceKey> Unnamed(Incarnation gateway, const Heartbeat& heartbeat) const {
    std::vector<SequenceKey> named, gone;
    for (const Heartbeat::Entry& entry : heartbeat.open) named.push_back(entry.sequence);
    std::sort(named.begin(), named.end());
    for (const auto& [key, sequence] : sequences_) {
      if (key.gateway == gateway && key.number <= heartbeat.newest &&
          !std::binary_search(named.begin(), named.end(), key)) {
        gone.push_back(key);
      }
    }
    return gone;
  }

  // What belongs to gateways that have been silent for `lease`.
  std::vector<SequenceKey> Expired(Instant now, Nanoseconds lease) const {
    std::vector<SequenceKey> gone;
    for (const auto& [key, sequence] : sequences_) {
      if (now - gateways_.at(key.gateway).renewed >= lease) gone.push_back(key);
    }
    return gone;
  }

 private:
  struct Gateway {
    int64_t open = 0;  // sequences; never 0
    Instant renewed;   // when it last spoke
  };
  // In order, so that a simulation runs the same way again.
  absl::btree_map<SequenceKey, std::unique_ptr<Sequence>> sequences_;
  std::map<Incarnation, Gateway> gateways_;
};

}  // namespace catena
