"""What a neuron finds on its host: GPUs through NVML, or the reason why there are none (MISSION N1, N2)."""

from __future__ import annotations

import platform
import socket

import psutil
import pynvml
import structlog

from fleet.reports import DeviceReport

log = structlog.get_logger(__name__)

_MIB = 1024 * 1024


class Host:
    """The host as discovered at start; `devices` is measured anew at each call."""

    def __init__(self, device_names: list[str]) -> None:
        self.hostname = socket.gethostname()
        self.os = _operating_system()
        self.driver_version, self._nvml_missing_reason = _start_nvml()
        self.cuda_version, self._torch_missing_reason = _cuda_of_torch()
        self._device_names = device_names

    @property
    def cuda_missing_reason(self) -> str:
        """Why no CUDA device can be used, empty where one can."""
        return self._nvml_missing_reason or self._torch_missing_reason

    def devices(self) -> list[DeviceReport]:
        return [self._cpu() if name == "cpu" else self._cuda(name) for name in self._device_names]

    def _cpu(self) -> DeviceReport:
        memory = psutil.virtual_memory()
        return DeviceReport(
            name="cpu",
            label=_processor(),
            memory_total_mb=memory.total // _MIB,
            memory_free_mb=memory.available // _MIB,
            utilisation_percent=round(psutil.cpu_percent()),
        )

    def _cuda(self, name: str) -> DeviceReport:
        if self.cuda_missing_reason:
            return _unusable(name, self.cuda_missing_reason)
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(int(name.partition(":")[2] or 0))
            memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
            return DeviceReport(
                name=name,
                label=pynvml.nvmlDeviceGetName(handle),
                capability=".".join(str(part) for part in pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
                memory_total_mb=int(memory.total) // _MIB,
                memory_free_mb=int(memory.free) // _MIB,
                utilisation_percent=pynvml.nvmlDeviceGetUtilizationRates(handle).gpu,
                temperature_c=pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU),
            )
        except pynvml.NVMLError as fault:
            return _unusable(name, f"NVML says: {fault}")


def default_devices() -> list[str]:
    """Every GPU that torch can use, else the processors."""
    import torch

    return [f"cuda:{index}" for index in range(torch.cuda.device_count())] or ["cpu"]


def _unusable(name: str, reason: str) -> DeviceReport:
    return DeviceReport(name=name, label="GPU", memory_total_mb=0, memory_free_mb=0, unusable_reason=reason)


def _start_nvml() -> tuple[str, str]:
    """Version of the NVIDIA driver and the reason why there is none: one of them is empty."""
    try:
        pynvml.nvmlInit()
        return str(pynvml.nvmlSystemGetDriverVersion()), ""
    except pynvml.NVMLError as fault:
        return "", f"no NVIDIA driver answers: {fault}"


def _cuda_of_torch() -> tuple[str, str]:
    """CUDA version torch was built with and the reason why torch cannot use it: one of them is empty."""
    import torch

    if torch.version.cuda is None:
        return "", "this build of torch has no CUDA (install the extra `gpu`)"
    if not torch.cuda.is_available():
        return "", "torch finds no CUDA device"
    return str(torch.version.cuda), ""


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform(terse=True)


def _processor() -> str:
    """The processor's name, as the kernel gives it, and how many there are for us."""
    cores = len(psutil.Process().cpu_affinity() or [])
    try:
        with open("/proc/cpuinfo") as lines:  # noqa: PTH123
            name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name}, {cores} cores"
