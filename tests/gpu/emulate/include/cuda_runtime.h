// Stands where CUDA's own header does when a kernel or the backend is compiled for the emulation.
#pragma once

#include "tests/gpu/emulate/instructions.h"
#include "tests/gpu/emulate/language.h"
#include "tests/gpu/emulate/runtime_api.h"
