//! Libraries that container runtimes bring from the host into a container.
//!
//! They are searched in the image like any other. A library is expected from the host only if the image lacks
//! it. `docs/drivers.md` shows this list.

/// Patterns of names and the software that provides them.
const KNOWN: &[(&str, &[&str])] = &[
    (
        "NVIDIA driver",
        &[
            "libcuda.so.*",
            "libcudadebugger.so.*",
            "libnvidia-*.so.*",
            "libnvcuvid.so.*",
            "libnvoptix.so.*",
            "libvdpau_nvidia.so.*",
            "libGLX_nvidia.so.*",
            "libEGL_nvidia.so.*",
            "libGLESv1_CM_nvidia.so.*",
            "libGLESv2_nvidia.so.*",
        ],
    ),
    ("GDRCopy", &["libgdrapi.so.*"]),
    (
        "MPI",
        &[
            "libmpi.so.*",
            "libmpi_*.so.*",
            "libmpicxx.so.*",
            "libmpifort.so.*",
            "libmpich.so.*",
            "libmpichcxx.so.*",
            "libmpichfort.so.*",
        ],
    ),
    ("process manager", &["libpmi.so.*", "libpmi2.so.*", "libpmix.so.*"]),
    ("libfabric", &["libfabric.so.*"]),
    ("UCX", &["libucp.so.*", "libuct.so.*", "libucs.so.*", "libucm.so.*"]),
    ("RDMA", &["libibverbs.so.*", "librdmacm.so.*", "libmlx5.so.*", "libefa.so.*", "libibumad.so.*"]),
    ("Slingshot", &["libcxi.so.*", "libcxiutils.so.*"]),
    ("XPMEM", &["libxpmem.so.*"]),
    ("Lustre", &["liblustreapi.so.*"]),
];

/// The libraries that are expected from the host.
#[derive(Clone, Debug, Default)]
pub struct HostLibraries {
    /// The user's patterns with their providers. They precede the known ones.
    pub own: Vec<(String, String)>,
}

impl HostLibraries {
    /// The software that provides the library of this name. `None` if the image must contain it.
    pub fn provider(&self, name: &str) -> Option<String> {
        let own = self.own.iter().find(|(pattern, _)| matches(pattern, name));
        let known = || KNOWN.iter().find(|(_, patterns)| patterns.iter().any(|p| matches(p, name)));
        own.map(|(_, provider)| provider.clone())
            .or_else(|| known().map(|(provider, _)| (*provider).to_owned()))
    }
}

/// Whether a name matches a pattern in which `*` stands for any number of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("libcuda.so.*", "libcuda.so.1", true),
            ("libcuda.so.*", "libcudart.so.12", false),
            ("libnvidia-*.so.*", "libnvidia-ml.so.1", true),
            ("libnvidia-*.so.*", "libnvidia-ml", false),
            ("*", "anything", true),
            ("libx.so.1", "libx.so.1", true),
            ("libx.so.1", "libx.so.12", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn the_documented_list_is_this_one() {
        let page = include_str!("../../../../docs/drivers.md");
        for (provider, patterns) in KNOWN {
            let names: Vec<String> = patterns.iter().map(|pattern| format!("`{pattern}`")).collect();
            let row = format!("| {provider} | {} |", names.join(", "));
            assert!(page.contains(&row), "docs/drivers.md lacks {row}");
        }
    }

    #[test]
    fn known_libraries_have_a_provider_and_the_users_come_first() {
        let known = HostLibraries::default();
        assert_eq!(known.provider("libcuda.so.1").as_deref(), Some("NVIDIA driver"));
        assert_eq!(known.provider("libmpi.so.40").as_deref(), Some("MPI"));
        assert_eq!(known.provider("libcudart.so.12"), None);
        assert_eq!(known.provider("libc.so.6"), None);
        let own = HostLibraries {
            own: vec![("libsite*".into(), "site".into()), ("libmpi.so.*".into(), "site".into())],
        };
        assert_eq!(own.provider("libsite.so.3").as_deref(), Some("site"));
        assert_eq!(own.provider("libmpi.so.40").as_deref(), Some("site"));
    }
}
