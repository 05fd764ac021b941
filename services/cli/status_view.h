// A cluster's status and one of its sequences, for people and for programs.
//
// Thread rules: pure functions.
#pragma once

#include <optional>
#include <string>

#include "catena/v1/cluster.pb.h"
#include <nlohmann/json.hpp>

namespace catena::cli {

// `address`: where the gateway was asked, which it may not know itself.
std::string StatusTable(const v1::GetStatusResponse& status, const std::string& address);
nlohmann::ordered_json StatusJson(const v1::GetStatusResponse& status, const std::string& address);

// Why the cluster is not ready, in one line; nothing where it is.
std::optional<std::string> WhyNotReady(const v1::GetStatusResponse& status);

// What waits or runs, oldest first.
std::string RunningTable(const v1::ListSequencesResponse& running);
nlohmann::ordered_json RunningJson(const v1::ListSequencesResponse& running);

// "shard 0-7", with the last of its blocks as users count them.
std::string StageName(const v1::ReplicaDescription& replica);

// How far a replica has drained: a line, an object, and what is left of it, "3 sequences".
std::string DrainLine(const v1::DrainResponse& drain);
nlohmann::ordered_json DrainJson(const v1::DrainResponse& drain);
std::string LeftText(const v1::DrainResponse& drain);

std::string SequenceTable(const v1::DebugSequenceResponse& sequence);
nlohmann::ordered_json SequenceJson(const v1::DebugSequenceResponse& sequence);

}  // namespace catena::cli
