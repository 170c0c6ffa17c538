"""What a class of devices can do: data, each figure with its source."""

from typing import NamedTuple


class DeviceClass(NamedTuple):
    """Compute in multiply-accumulates per second, memory bandwidth in bytes per second, memory for a model in bytes."""

    macs_per_s: int
    load_bytes_per_s: int
    memory_bytes: int


DEVICE_CLASSES: dict[str, DeviceClass] = {
    # A phone's CPU cluster: 4 Cortex-A76 at 2.4 GHz with two 128-bit FMA pipes each reach 77 fp32 GMAC/s at peak (Arm
    # Cortex-A76 Software Optimization Guide, section 3.15); mobile frameworks reach about a quarter of the peak on small nets
    # (Ignatov et al., "AI Benchmark", 2019). UFS 3.1 storage reads 2.1 GB/s (JEDEC JESD220E products). An app's share of RAM.
    "phone": DeviceClass(macs_per_s=20_000_000_000, load_bytes_per_s=2_000_000_000, memory_bytes=256_000_000),
    # A microcontroller: Cortex-M7 at 480 MHz (STM32H743), 0.6 MAC per cycle (Lai, Suda, Chandra, "CMSIS-NN", 2018);
    # 1 MB of RAM of which three quarters hold the model; quad-SPI flash at 133 MHz reads 66 MB/s (STM32H743 datasheet).
    "sensor": DeviceClass(macs_per_s=290_000_000, load_bytes_per_s=66_000_000, memory_bytes=750_000),
    # A smart camera: 4 Cortex-A53 at 1.2 GHz, one 64-bit FMA pipe each, 9.6 fp32 GMAC/s at peak, a quarter of it reached;
    # eMMC 5.1 reads 250 MB/s (JEDEC JESD84-B51 products); 64 MB for the model.
    "camera": DeviceClass(macs_per_s=2_400_000_000, load_bytes_per_s=250_000_000, memory_bytes=64_000_000),
}
