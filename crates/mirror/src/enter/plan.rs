//! Plans each mount in the mirror: mirrored as a volume, or bound unchanged.

use std::path::PathBuf;

use super::mount_table::{Mount, lies_in, parse};

/// File systems that are views of the kernel and of devices, for which a mirror has no meaning, and `afs`. The latter
/// decides by session tokens, which a server for many users does not have.
const KERNEL: &[&str] = &[
    "afs",
    "autofs",
    "bdev",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

/// Directories of kernel file systems and of sockets. Mirrored sockets would not connect to processes outside.
pub(super) const THROUGH: &[&str] = &["/proc", "/dev", "/sys", "/run"];

/// The mounts in the order in which they are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub steps: Vec<MountStep>,
}

/// One mount of the mirror.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum MountStep {
    /// A mirrored volume.
    Mirror(Mount),
    /// Another mount point of a directory that an earlier volume mirrors.
    Again { mount: Mount, first: Vec<u8> },
    /// A directory or file that is bound, including the mounts inside it.
    Bind(Vec<u8>),
}

impl MountStep {
    /// The mount point.
    pub(super) fn place(&self) -> &[u8] {
        match self {
            Self::Mirror(mount) | Self::Again { mount, .. } => &mount.place,
            Self::Bind(place) => place,
        }
    }
}

impl Plan {
    /// Plans the mirror of a mount table. `sockets` are further directories to bind. Places for which `exists` returns
    /// false are skipped.
    pub(super) fn new(table: &[u8], sockets: &[PathBuf], exists: impl Fn(&[u8]) -> bool) -> Self {
        let mut mounts = parse(table);
        let mirrors: Vec<Vec<u8>> =
            mounts.iter().filter(|mount| is_mirror(mount)).map(|mount| mount.place.clone()).collect();
        mounts.retain(|mount| !mirrors.iter().any(|mirror| lies_in(&mount.place, mirror)));
        let mut bound: Vec<Vec<u8>> = THROUGH.iter().map(|place| place.as_bytes().to_vec()).collect();
        bound.extend(sockets.iter().map(|directory| directory.as_os_str().as_encoded_bytes().to_vec()));
        let kernel = mounts.iter().filter(|mount| is_kernels(mount)).map(|mount| mount.place.clone());
        bound.extend(kernel.filter(|place| place != b"/"));
        bound.retain(|place| exists(place));
        bound.sort();
        bound.dedup();
        let all = bound.clone();
        bound.retain(|place| !all.iter().any(|other| other != place && lies_in(place, other)));
        let mut steps = Vec::new();
        for mount in mounts {
            let through = bound.iter().any(|place| lies_in(&mount.place, place));
            if !through {
                steps.push(MountStep::Mirror(mount));
            }
        }
        // A directory is bound after the volume around it is mounted.
        steps.extend(bound.into_iter().map(MountStep::Bind));
        Self { steps }
    }

    /// Removes the volumes for which `wanted` returns false.
    pub(super) fn retain_mirrors(&mut self, mut wanted: impl FnMut(&Mount) -> bool) {
        self.steps.retain(|step| match step {
            MountStep::Mirror(mount) => wanted(mount),
            MountStep::Again { .. } | MountStep::Bind(_) => true,
        });
    }

    /// Removes the bound places for which `wanted` returns false.
    pub(super) fn retain_bound(&mut self, mut wanted: impl FnMut(&[u8]) -> bool) {
        self.steps.retain(|step| match step {
            MountStep::Mirror(_) | MountStep::Again { .. } => true,
            MountStep::Bind(place) => wanted(place),
        });
    }

    /// Merges the volume at `place` into that at `first`, and moves it after that one.
    pub(super) fn join(&mut self, place: &[u8], first: &[u8]) {
        let at = |steps: &[MountStep], place: &[u8]| {
            steps.iter().position(|step| matches!(step, MountStep::Mirror(mount) if mount.place == place))
        };
        let (Some(own), Some(_)) = (at(&self.steps, place), at(&self.steps, first)) else { return };
        let MountStep::Mirror(mount) = self.steps.remove(own) else { return };
        let Some(before) = at(&self.steps, first) else { return };
        let MountStep::Mirror(Mount { place, .. }) = &self.steps[before] else { return };
        let again = MountStep::Again { mount, first: place.clone() };
        self.steps.insert(own.max(before + 1), again);
    }

    /// The further mount points of a volume.
    pub(super) fn places_of(&self, first: &Mount) -> Vec<Vec<u8>> {
        let places = self.steps.iter().filter_map(|step| match step {
            MountStep::Again { mount, first: place } if *place == first.place => Some(mount.place.clone()),
            _ => None,
        });
        places.collect()
    }

    /// Whether the root is mirrored, so that the mirror becomes the root of the command.
    pub(super) fn has_root(&self) -> bool {
        self.mirrors().next().is_some_and(|mount| mount.place == b"/")
    }

    /// The mirrored volumes, in the order in which they are mounted.
    pub(super) fn mirrors(&self) -> impl Iterator<Item = &Mount> {
        self.steps
            .iter()
            .filter_map(|step| if let MountStep::Mirror(mount) = step { Some(mount) } else { None })
    }

    /// The bound places.
    pub(super) fn bound(&self) -> impl Iterator<Item = &[u8]> {
        self.steps
            .iter()
            .filter_map(|step| if let MountStep::Bind(place) = step { Some(&**place) } else { None })
    }
}

/// The type of an external mirror in the mount table. Such a mirror is not mirrored itself.
const MIRROR: &[u8] = b"fuse.compat";

/// The type of the mirror of a share in the mount table.
pub(super) const SHARE_MIRROR: &str = "fuse.compat-share";

/// Whether this is an external mirror, of this run or of another.
pub(super) fn is_mirror(mount: &Mount) -> bool {
    mount.kind == MIRROR
}

pub(super) fn is_kernels(mount: &Mount) -> bool {
    KERNEL.iter().any(|kind| mount.kind == kind.as_bytes())
}

/// The stacking depth of the file system, as FUSE passthrough counts it.
pub(super) fn depth_of(mount: &Mount) -> u32 {
    if matches!(&*mount.kind, b"overlay" | b"ecryptfs" | b"aufs") { 2 } else { 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"\
27 1 0:40 / / rw - overlay overlay rw
22 27 0:21 / /proc rw - proc proc rw
24 27 0:6 / /dev rw - tmpfs tmpfs rw
25 24 0:6 / /dev/pts rw - devpts devpts rw
33 27 254:0 /x /etc/hosts rw - ext4 /dev/vda rw
34 27 0:50 / /cgroup rw - cgroup2 cgroup rw
35 27 0:51 / /data rw - nfs4 server rw
36 27 0:52 / /srv/mirror rw - fuse.compat overlay rw
37 36 0:53 / /srv/mirror/data rw - fuse.compat server rw
38 36 0:6 / /srv/mirror/dev rw - tmpfs tmpfs rw
";

    #[test]
    fn volumes_are_mirrored_and_the_kernels_own_bound() {
        let here = |place: &[u8]| place != b"/sys" && !place.starts_with(b"/tmp");
        let plan = Plan::new(TABLE, &["/tmp/ssh-1".into(), "/run/user/1".into()], here);
        let steps: Vec<String> = plan.steps.iter().map(text).collect();
        assert_eq!(
            steps,
            [
                "mirror /",
                "mirror /etc/hosts",
                "mirror /data",
                "bind /cgroup",
                "bind /dev",
                "bind /proc",
                "bind /run"
            ]
        );
        let MountStep::Mirror(root) = &plan.steps[0] else { panic!("the root comes first") };
        assert_eq!(depth_of(root), 2);
    }

    fn text(step: &MountStep) -> String {
        match step {
            MountStep::Mirror(mount) => format!("mirror {}", String::from_utf8_lossy(&mount.place)),
            MountStep::Again { mount, .. } => format!("again {}", String::from_utf8_lossy(&mount.place)),
            MountStep::Bind(place) => format!("bind {}", String::from_utf8_lossy(place)),
        }
    }
}
