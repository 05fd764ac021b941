// Any host backend as if its device were far away, like a GPU's: outside of ops and copies the host
// can touch none of the device's memory (it faults), ops take no rows but those of the device's
// memory, and copies end in the host's. Its memory is not zeroed, it pads every batch, and steps of
// one batch object and size must be made of the same ops. Nothing is done before somebody waits.
//
// Thread rules: one thread, and no other one runs ops meanwhile.
#pragma once

#include <memory>
#include <vector>

#include "tests/kernels/op_fixture.h"

namespace catena::testing_kernels {

std::unique_ptr<Backend> NewFarBackend(std::unique_ptr<Backend> near);

// Those of this machine, and the reference as a far one.
inline std::vector<BackendCase> NearAndFarBackendCases() {
  std::vector<BackendCase> cases = BackendCases();
  cases.push_back(
      {.name = "far", .make = [](Activations a, int) { return NewFarBackend(NewRefBackend(a)); }});
  return cases;
}

}  // namespace catena::testing_kernels
