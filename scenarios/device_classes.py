"""What a class of devices can do: data, each figure with its source."""

from typing import NamedTuple


class DeviceClass(NamedTuple):
    """Compute in multiply-accumulates per second, the storage's bandwidth in bytes per second, memory for models in bytes (while
    one is exchanged for another it holds both), and what a multiply-accumulate takes from the battery in joules."""

    macs_per_s: int
    load_bytes_per_s: int
    memory_bytes: int
    energy_per_mac_j: float


DEVICE_CLASSES: dict[str, DeviceClass] = {
    # A phone's CPU cluster: 4 Cortex-A76 at 2.4 GHz with two 128-bit FMA pipes each reach 77 fp32 GMAC/s at peak (Arm
    # Cortex-A76 Software Optimization Guide, section 3.15); mobile frameworks reach about a quarter of the peak on small nets
    # (Ignatov et al., "AI Benchmark", 2019). UFS 3.1 storage reads 2.1 GB/s (JEDEC JESD220E products). An app's share of RAM.
    # About 2 W for each busy core (AnandTech's SPEC2006 of the Kirin 980, "Mate 20 review", 2018): 8 W for 20 GMAC/s.
    "phone": DeviceClass(
        macs_per_s=20_000_000_000, load_bytes_per_s=2_000_000_000, memory_bytes=256_000_000, energy_per_mac_j=400e-12
    ),
    # A wearable sensor's microcontroller: Cortex-M7 at 480 MHz (STM32H743), 0.6 MAC per cycle (Lai, Suda, Chandra, "CMSIS-NN",
    # 2018). Its 864 KiB of SRAM hold the models, the 192 KiB of tightly coupled memory the program's state; quad-SPI flash at
    # 133 MHz reads 66 MB/s (datasheet DS12110). 275 uA/MHz at 3.3 V (ST's product page): 0.44 W for 290 MMAC/s.
    "sensor": DeviceClass(
        macs_per_s=290_000_000, load_bytes_per_s=66_000_000, memory_bytes=864 * 1024, energy_per_mac_j=1.5e-9
    ),
    # A smart camera: 4 Cortex-A53 at 1.2 GHz, one 64-bit FMA pipe each, 9.6 fp32 GMAC/s at peak, a quarter of it reached;
    # eMMC 5.1 reads 250 MB/s (JEDEC JESD84-B51 products); 64 MB for the model. A Raspberry Pi 3 B, which has these cores, takes
    # 2.3 W more with all four busy than idle (J. Geerling, "Power Consumption Benchmarks", pidramble.com).
    "camera": DeviceClass(
        macs_per_s=2_400_000_000, load_bytes_per_s=250_000_000, memory_bytes=64_000_000, energy_per_mac_j=960e-12
    ),
    # A vehicle's computer: Jetson AGX Orin 64 GB, 5.3 fp32 TFLOP/s of its CUDA cores at peak, at most 60 W, eMMC 5.1 (NVIDIA,
    # "Jetson AGX Orin Series Technical Brief", v1.2, 2022); a quarter of the peak reached, as above; 4 GB of its memory.
    "vehicle": DeviceClass(
        macs_per_s=660_000_000_000, load_bytes_per_s=250_000_000, memory_bytes=4_000_000_000, energy_per_mac_j=91e-12
    ),
    # A service robot's computer, as in the TurtleBot 4: Raspberry Pi 4 B with 4 GB: 4 Cortex-A72 at 1.5 GHz, 4 fp32 MAC per
    # cycle each (Arm Cortex-A72 Software Optimization Guide), a quarter of 24 GMAC/s reached; its SD card reads 45 MB/s and it
    # takes 3.7 W more with all four cores busy than idle (J. Geerling, as above); 1 GB for the models.
    "robot": DeviceClass(
        macs_per_s=6_000_000_000, load_bytes_per_s=45_000_000, memory_bytes=1_000_000_000, energy_per_mac_j=620e-12
    ),
}
