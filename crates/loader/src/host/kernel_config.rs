//! The build configuration of the running kernel, if it is available: `/boot/config-RELEASE`, or
//! `/proc/config.gz` (`CONFIG_IKCONFIG_PROC`). The options are those of Linux' `arch/x86/Kconfig`. Debian adds
//! `CONFIG_X86_X32_DISABLED`, which the parameter `syscall.x32=y` overrides.

use std::fs::File;
use std::io::{self, Read};

/// The most bytes of a configuration that are read: twenty times the usual size.
const MAXIMUM_SIZE: u64 = 8 << 20;

/// Whether the kernel of a release runs programs with 32-bit addresses on x86-64 (x32). `None` if this is
/// unknown.
pub(super) fn runs_x32(release: &str) -> Option<bool> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let read = |reader: Box<dyn Read>| {
        let mut text = String::new();
        reader.take(MAXIMUM_SIZE).read_to_string(&mut text).map(|_| text)
    };
    let plain = || File::open(format!("/boot/config-{release}")).and_then(|file| read(Box::new(file)));
    let packed = |_: io::Error| {
        let file = File::open("/proc/config.gz")?;
        read(Box::new(flate2::read::GzDecoder::new(file)))
    };
    let config = plain().or_else(packed).ok()?;
    parse(&config, &std::fs::read_to_string("/proc/cmdline").unwrap_or_default())
}

/// Parses the text of a configuration and of the kernel's parameters.
fn parse(config: &str, parameters: &str) -> Option<bool> {
    let is_set = |option: &str| config.lines().any(|line| line.strip_prefix(option) == Some("=y"));
    if !is_set("CONFIG_X86_64") {
        return None;
    }
    let is_disabled = || is_set("CONFIG_X86_X32_DISABLED") && !has_parameter(parameters);
    Some(is_set("CONFIG_X86_X32_ABI") && !is_disabled() || is_set("CONFIG_X86_X32") && !is_disabled())
}

fn has_parameter(parameters: &str) -> bool {
    let last = parameters.split_whitespace().rev().find_map(|word| word.strip_prefix("syscall.x32="));
    last.is_some_and(|value| matches!(value, "y" | "Y" | "1" | "on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_tells_whether_programs_with_short_addresses_run() {
        let on = "CONFIG_X86_64=y\nCONFIG_X86_X32_ABI=y\n";
        assert_eq!(parse(on, ""), Some(true));
        assert_eq!(parse("CONFIG_X86_64=y\nCONFIG_X86_X32=y\n", ""), Some(true));
        assert_eq!(parse("CONFIG_X86_64=y\n# CONFIG_X86_X32_ABI is not set\n", ""), Some(false));
        assert_eq!(parse("", ""), None, "cut, or of another machine");
        let disabled = format!("{on}CONFIG_X86_X32_DISABLED=y\n");
        assert_eq!(parse(&disabled, "quiet"), Some(false));
        assert_eq!(parse(&disabled, "quiet syscall.x32=y"), Some(true));
    }
}
