//! The drivers of a host, from the files of the drivers themselves.
//!
//! Sources: `/proc/driver/nvidia` and `/sys/module/nvidia` of NVIDIA's kernel module, the names of its
//! user-space libraries (`libcuda.so.<version>`), and the table of driver branches in the release notes of
//! NVIDIA's CUDA Toolkit.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::host::Root;

/// The drivers and devices of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drivers {
    /// NVIDIA's driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvidia: Option<NvidiaDriver>,
    /// Device nodes of accelerators and fast networks, by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// The loaded kernel modules.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<String>,
}

/// NVIDIA's driver.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NvidiaDriver {
    /// Its version, such as 535.104.05.
    pub version: String,
    /// The newest CUDA version that it supports, such as 12.2. Absent for a driver older than CUDA 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<String>,
    /// The models of its GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
}

/// The directories of the driver's libraries.
const LIBRARY_DIRECTORIES: [&str; 6] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/nvidia/lib64",
    "/usr/lib/wsl/lib",
];

/// The first driver of each branch that supports a CUDA version ("CUDA Toolkit and Corresponding Driver
/// Versions"), newest first: driver major, CUDA.
const BRANCHES: &[(u32, &str)] = &[
    (590, "13.1"),
    (580, "13.0"),
    (575, "12.9"),
    (570, "12.8"),
    (565, "12.7"),
    (560, "12.6"),
    (555, "12.5"),
    (550, "12.4"),
    (545, "12.3"),
    (535, "12.2"),
    (530, "12.1"),
    (525, "12.0"),
    (520, "11.8"),
    (515, "11.7"),
    (510, "11.6"),
    (495, "11.5"),
    (470, "11.4"),
    (465, "11.3"),
    (460, "11.2"),
    (455, "11.1"),
    (450, "11.0"),
    (440, "10.2"),
    (418, "10.1"),
    (410, "10.0"),
    (396, "9.2"),
    (390, "9.1"),
    (384, "9.0"),
    (375, "8.0"),
];

/// Reported device nodes, by the prefix of their names in a directory of `/dev`.
const DEVICES: &[(&str, &[&str])] = &[
    ("/dev", &["nvidia", "dxg", "kfd", "fuse", "mlx", "gdrdrv", "knem", "xpmem", "cxi"]),
    ("/dev/dri", &["card", "render"]),
    ("/dev/infiniband", &["uverbs", "rdma_cm"]),
];

impl Drivers {
    /// Returns the drivers of the host with this root.
    pub fn of(root: &Root) -> Self {
        let in_directory = |(directory, beginnings): &(&str, &[&str])| -> Vec<String> {
            let names = root.names(Path::new(directory)).into_iter();
            let told = names.filter(|name| beginnings.iter().any(|beginning| name.starts_with(beginning)));
            told.map(|name| format!("{directory}/{name}")).collect()
        };
        let modules = root.read_text(Path::new("/proc/modules")).unwrap_or_default();
        let names = modules.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned);
        let mut modules: Vec<String> = names.filter(|name| !name.is_empty()).collect();
        modules.sort_unstable();
        Self { nvidia: nvidia(root), devices: DEVICES.iter().flat_map(in_directory).collect(), modules }
    }
}

impl NvidiaDriver {
    /// Returns the features of a driver of the given version.
    pub fn of_version(version: &str) -> Self {
        let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok()).unwrap_or(0);
        let branch = BRANCHES.iter().find(|(first, _)| major >= *first);
        let cuda = branch.map(|(_, cuda)| (*cuda).to_owned());
        Self { version: version.to_owned(), cuda, models: Vec::new() }
    }
}

fn nvidia(root: &Root) -> Option<NvidiaDriver> {
    let proc = root.read_text(Path::new("/proc/driver/nvidia/version")).ok();
    let version = proc
        .and_then(|text| version_in(&text))
        .or_else(|| root.read_text(Path::new("/sys/module/nvidia/version")).ok().and_then(|t| version_in(&t)))
        .or_else(|| version_of_library(root))?;
    let mut driver = NvidiaDriver::of_version(&version);
    let directory = Path::new("/proc/driver/nvidia/gpus");
    for gpu in root.names(directory) {
        let text = root.read_text(&directory.join(gpu).join("information")).unwrap_or_default();
        let model = text.lines().find_map(|line| line.strip_prefix("Model:"));
        driver.models.extend(model.map(|model| model.trim().to_owned()));
    }
    Some(driver)
}

/// Returns the first word of a text that is a driver version: digits and dots, with three digits first.
fn version_in(text: &str) -> Option<String> {
    text.split_whitespace().find(|word| is_driver_version(word)).map(str::to_owned)
}

fn is_driver_version(word: &str) -> bool {
    let mut parts = word.split('.');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.next().is_some_and(|major| major.len() == 3 && is_number(major))
        && word.contains('.')
        && parts.all(is_number)
}

/// The version in the name of the file that `libcuda.so.1` points to.
fn version_of_library(root: &Root) -> Option<String> {
    LIBRARY_DIRECTORIES.iter().find_map(|directory| {
        let real = root.resolve(Path::new(&format!("{directory}/libcuda.so.1"))).ok()?;
        let name = real.file_name()?.to_str()?;
        name.strip_prefix("libcuda.so.").filter(|version| is_driver_version(version)).map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_kernel_module_or_the_library() {
        let proprietary = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023\n\
                           GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n";
        let open =
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build  (root@b)";
        assert_eq!(version_in(proprietary).as_deref(), Some("535.104.05"));
        assert_eq!(version_in(open).as_deref(), Some("570.86.15"));
        let directory = tempfile::tempdir().unwrap();
        let libraries = directory.path().join("usr/lib64");
        std::fs::create_dir_all(&libraries).unwrap();
        std::fs::write(libraries.join("libcuda.so.470.82.01"), "").unwrap();
        std::os::unix::fs::symlink("libcuda.so.470.82.01", libraries.join("libcuda.so.1")).unwrap();
        let drivers = Drivers::of(&Root::at(directory.path()).unwrap());
        let driver = drivers.nvidia.unwrap();
        assert_eq!((driver.version.as_str(), driver.cuda.as_deref()), ("470.82.01", Some("11.4")));
    }

    #[test]
    fn devices_modules_and_models_are_listed() {
        let directory = tempfile::tempdir().unwrap();
        let gpu = directory.path().join("proc/driver/nvidia/gpus/0000:01:00.0");
        std::fs::create_dir_all(&gpu).unwrap();
        std::fs::create_dir_all(directory.path().join("dev/dri")).unwrap();
        std::fs::write(gpu.join("information"), "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ: 20\n").unwrap();
        std::fs::write(directory.path().join("proc/modules"), "nvidia 1 2 - Live\next4 3 4 - Live\n")
            .unwrap();
        std::fs::write(directory.path().join("proc/driver/nvidia/version"), "NVRM version: x  590.1 y")
            .unwrap();
        for device in ["nvidia0", "nvidiactl", "null", "dri/card0"] {
            std::fs::write(directory.path().join("dev").join(device), "").unwrap();
        }
        let drivers = Drivers::of(&Root::at(directory.path()).unwrap());
        assert_eq!(drivers.devices, ["/dev/nvidia0", "/dev/nvidiactl", "/dev/dri/card0"]);
        assert_eq!(drivers.modules, ["ext4", "nvidia"]);
        assert_eq!(drivers.nvidia.unwrap().models, ["NVIDIA H100 80GB HBM3"]);
    }

    #[test]
    fn a_host_without_the_driver_has_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Drivers::of(&Root::at(directory.path()).unwrap()), Drivers::default());
    }
}
