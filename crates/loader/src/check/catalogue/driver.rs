//! Kinds about what images ask of drivers.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Misbehaves, Undecided, Warning};

pub(super) const DRIVER_MISSING: Entry = Entry {
    name: "driver-missing",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[Misbehaves],
    depends: "",
    summary: "The image asks for NVIDIA's driver, and the host has none",
    meaning: "The container would start without a GPU. `asked` lists the settings of the image that ask for it.",
    example: "An image with `NVIDIA_VISIBLE_DEVICES=all` on a host without the driver.",
    advice: "Install the driver, choose another host, or accept it with `--accept-risk` if the GPU is optional.",
};

pub(super) const DRIVERS_UNKNOWN: Entry = Entry {
    name: "drivers-unknown",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "The image asks for a driver, and nothing is known of the drivers of the host",
    meaning: "The saved host, or the root file system, has no record of drivers. So it is not known whether they meet what \
              the image asks.",
    example: "The profile of the host was saved by an older compat.",
    advice: "Save the host again with `compat host`, or check on the host itself.",
};

pub(super) const DRIVER_CONSTRAINT: Entry = Entry {
    name: "driver-constraint",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[DoesNotStart, Undecided],
    depends: "It does not start if the driver fails the constraint, and is undecided if the driver's files do not say.",
    summary: "The driver does not meet a constraint of the image, or it is not known whether it does",
    meaning: "Images state which CUDA, driver or GPU they need (`NVIDIA_REQUIRE_*`). The container runtime refuses to start \
              the container if that is not met. `unmet` and `unknown` list the conditions.",
    example: "An image has `NVIDIA_REQUIRE_CUDA=cuda>=12.4`, and the driver runs CUDA up to 12.2.",
    advice: "Update the driver, or use an image for the older CUDA.",
};

pub(super) const DRIVER_NOT_LOADED: Entry = Entry {
    name: "driver-not-loaded",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[Misbehaves],
    depends: "",
    summary: "NVIDIA's driver is installed, but its kernel module is not loaded",
    meaning: "The libraries of the driver are there. No GPU would be found without the kernel module.",
    example: "The kernel was updated, and the module was not built for it.",
    advice: "Load it with `modprobe nvidia`. If that fails, install the driver again for this kernel.",
};

pub(super) const DEVICE_MISSING: Entry = Entry {
    name: "device-missing",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[Warning],
    depends: "",
    summary: "NVIDIA's driver is loaded, and /dev/nvidia* is missing",
    meaning: "The device nodes are made at the first use by a program that may do so. A container without that right \
              finds no GPU.",
    example: "A machine was just started, and nothing has used the GPU yet.",
    advice: "Run `nvidia-modprobe` or `nvidia-smi` once as root.",
};

pub(super) const DRIVER_LIBRARY_MISSING: Entry = Entry {
    name: "driver-library-missing",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[Misbehaves],
    depends: "",
    summary: "The host lacks a library of NVIDIA's driver that the image asks for",
    meaning: "Each capability in `NVIDIA_DRIVER_CAPABILITIES` stands for libraries that programs open by name. The host \
              does not have this one.",
    example: "An image asks for `video`, and the host has no `libnvidia-encode.so.1`.",
    advice: "Install the rest of the driver. Distributions often split it into several packages.",
};
