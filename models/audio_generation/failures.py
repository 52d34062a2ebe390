"""What a failed call on the device means: too little memory, a broken device, or neither."""

import torch

_DEVICE = ("CUDA", "cuda", "CUBLAS", "cuBLAS", "CUDNN", "cuDNN")


def memory_is_short(error: BaseException) -> bool:
    """Whether there was too little memory, the device's or the host's: less may work."""
    # torch's own allocator of the host's memory, and the driver's of pinned memory, raise what they raise for anything else
    told = str(error).lower()
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError) or "allocate memory" in told or "out of memory" in told
    )


def device_is_broken(error: BaseException) -> bool:
    """Whether whatever comes next will fail as well: after an error of its own, a process can do nothing more with a GPU."""
    if memory_is_short(error):
        return False
    told = isinstance(error, RuntimeError) and any(name in str(error) for name in _DEVICE)
    return isinstance(error, torch.AcceleratorError) or told
