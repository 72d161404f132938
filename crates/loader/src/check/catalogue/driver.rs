//! Kinds of findings about the drivers that images require.

use super::{Entry, Shown, Topic};
use crate::check::Impact::{DoesNotStart, Misbehaves, Undecided, Warning};

pub(super) const DRIVER_MISSING: Entry = Entry {
    name: "driver-missing",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[Misbehaves],
    depends: "",
    summary: "The image requires NVIDIA's driver, and the host does not have it",
    meaning: "The container would start without a GPU. In the JSON report, `asked` lists the settings of the image that require the \
              driver.",
    example: "An image with `NVIDIA_VISIBLE_DEVICES=all` is checked on a host without the driver.",
    advice: "Install the driver or choose another host. If the GPU is optional, accept the finding with \
             `--accept-risk`.",
};

pub(super) const DRIVERS_UNKNOWN: Entry = Entry {
    name: "drivers-unknown",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[Undecided],
    depends: "",
    summary: "The image requires a driver, and the drivers of the host are not known",
    meaning: "The saved profile of the host contains no information about drivers, so it could not be decided \
              whether they meet the image's requirements.",
    example: "The profile of the host was saved by an older version of compat.",
    advice: "Save the host again with `compat host`, or check on the host itself.",
};

pub(super) const DRIVER_CONSTRAINT: Entry = Entry {
    name: "driver-constraint",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[DoesNotStart, Undecided],
    depends: "It does not start if the driver fails the constraint. It is undecided if the driver's files do not \
              show it.",
    summary: "The driver does not meet a constraint of the image, or this could not be decided",
    meaning: "Images state which CUDA, driver or GPU they need (`NVIDIA_REQUIRE_*`). If the host does not meet this, \
              the container runtime refuses to start the container. In the JSON report, `unmet` lists the conditions that are not met, \
              and `unknown` the undecided ones.",
    example: "An image has `NVIDIA_REQUIRE_CUDA=cuda>=12.4`, and the driver supports CUDA up to 12.2.",
    advice: "Update the driver, or use an image for an older CUDA.",
};

pub(super) const DRIVER_NOT_LOADED: Entry = Entry {
    name: "driver-not-loaded",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[Misbehaves],
    depends: "",
    summary: "NVIDIA's driver is installed, but its kernel module is not loaded",
    meaning: "The host has the libraries of the driver. Without the kernel module, programs find no GPU.",
    example: "The kernel was updated, and the module was not built for it.",
    advice: "Load the module with `modprobe nvidia`. If that fails, install the driver again for this kernel.",
};

pub(super) const DEVICE_MISSING: Entry = Entry {
    name: "device-missing",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[Warning],
    depends: "",
    summary: "NVIDIA's driver is loaded, but its device nodes /dev/nvidia* are missing",
    meaning: "A privileged process creates the device nodes on first use. A container without that privilege finds \
              no GPU.",
    example: "The machine has just started, and no program has used the GPU yet.",
    advice: "Run `nvidia-modprobe` or `nvidia-smi` once as root.",
};

pub(super) const DRIVER_LIBRARY_MISSING: Entry = Entry {
    name: "driver-library-missing",
    topic: Topic::Driver,
    shown: Shown::Check,
    impacts: &[Misbehaves],
    depends: "",
    summary: "The host lacks a library of NVIDIA's driver that the image requires",
    meaning: "Each capability in `NVIDIA_DRIVER_CAPABILITIES` stands for libraries that programs open by name. The \
              host lacks one of them.",
    example: "An image requires the capability `video`, and the host lacks `libnvidia-encode.so.1`.",
    advice: "Install the missing package of the driver. Distributions often split the driver into several packages.",
};
