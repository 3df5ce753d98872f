"""GPUs that can be compiled for without one: their description for XLA, and their peak speeds."""

import dataclasses
from collections.abc import Iterable, Mapping

from stackgan_jax.benchmark.kernels import Kernel


@dataclasses.dataclass(frozen=True)
class Gpu:
    """A model of GPU, by the manufacturer's figures.

    Attributes:
        description: for XLA's compiler, a `GpuTargetConfigProto` as text.
        memory: in GiB.
        operations_per_second: dense, of the matrix units, by element type; XLA computes float32
            there as TF32.
        bytes_per_second: of the memory.
        per_host: the number of GPUs in one machine.
    """

    description: str
    memory: int
    operations_per_second: Mapping[str, float]
    bytes_per_second: float
    per_host: int = 8

    def least_seconds(self, kernels: Iterable[Kernel]) -> float:
        """Returns the least time of kernels that run one after another.

        Each kernel takes at least as long as the GPU needs to move its bytes, and at least as long
        as it needs for its operations.
        """
        default = self.operations_per_second["f32"]
        return sum(
            max(
                kernel.bytes / self.bytes_per_second,
                kernel.operations / self.operations_per_second.get(kernel.dtype, default),
            )
            for kernel in kernels
        )


# H100 SXM5, from NVIDIA's data sheet and "H100 Tensor Core GPU Architecture" (2022); CUDA 13.
_H100 = """
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  memory_bandwidth: 3352320000000
  device_memory_size: 84942979072
  l2_cache_size: 52428800
  shared_memory_per_core: 233472
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  registers_per_core_limit: 65536
  registers_per_block_limit: 65536
  threads_per_core_limit: 2048
  threads_per_block_limit: 1024
  threads_per_warp: 32
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
}
dnn_version_info { major: 9 minor: 12 }
runtime_version { major: 13 }
"""

GPUS = {"h100": Gpu(_H100, 80, {"bf16": 989e12, "f32": 495e12}, 3.35e12)}
